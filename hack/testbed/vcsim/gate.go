package main

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// keptConnections bounds the list that the admin port shows; the oldest closed ones go first.
const keptConnections = 20_000

// gate accepts connections and keeps a record of each, so that a test can prove what a client sent, or that
// it sent nothing. It is also where connections are refused, reset or left hanging.
type gate struct {
	address  string
	identity *identity
	faults   *faults
	accepted chan net.Conn
	closed   chan struct{}

	mu      sync.Mutex
	raw     net.Listener // nil while connections are refused
	lastID  int
	records []*connection
}

// connectionFacts is what the admin port shows. Application bytes are those inside TLS.
type connectionFacts struct {
	ID                       int        `json:"id"`
	Remote                   string     `json:"remote"`
	Opened                   time.Time  `json:"opened"`
	Closed                   *time.Time `json:"closed,omitempty"`
	ServerName               string     `json:"serverName"`
	TLSVersion               string     `json:"tlsVersion"`
	HandshakeCompleted       bool       `json:"handshakeCompleted"`
	RawBytesReceived         int64      `json:"rawBytesReceived"`
	ApplicationBytesReceived int64      `json:"applicationBytesReceived"`
	ApplicationBytesSent     int64      `json:"applicationBytesSent"`
	Requests                 int        `json:"requests"`
	Alert                    string     `json:"alert,omitempty"`
	Error                    string     `json:"error,omitempty"`
	Fault                    string     `json:"fault,omitempty"`
}

func newGate(raw net.Listener, identity *identity, faults *faults) *gate {
	g := &gate{
		address: raw.Addr().String(), identity: identity, faults: faults,
		accepted: make(chan net.Conn), closed: make(chan struct{}), raw: raw,
	}
	go g.acceptFrom(raw)
	return g
}

func (g *gate) acceptFrom(raw net.Listener) {
	for {
		conn, err := raw.Accept()
		if err != nil {
			return
		}
		if c := g.admit(conn); c != nil {
			select {
			case g.accepted <- c:
			case <-g.closed:
				_ = conn.Close()
			}
		}
	}
}

func (g *gate) admit(conn net.Conn) net.Conn {
	counted := &countedConn{Conn: conn}
	c := &connection{
		Conn: counted, raw: counted, generation: g.identity.generation.Load(),
		facts: connectionFacts{Remote: conn.RemoteAddr().String(), Opened: time.Now().UTC()},
	}
	g.mu.Lock()
	g.lastID++
	c.facts.ID = g.lastID
	g.records = append(g.records, c)
	if len(g.records) > keptConnections {
		g.forgetOne()
	}
	g.mu.Unlock()

	switch action := g.faults.onConnect(); action {
	case actionResetConnection:
		c.note(action)
		c.reset()
		return nil
	case actionHangConnection:
		c.note(action)
		go func() { // read, so that the end of the client is seen, and say nothing
			_, _ = io.Copy(io.Discard, counted)
			_ = c.Close()
		}()
		return nil
	}
	c.tls = tls.Server(counted, g.identity.config())
	return c
}

func (g *gate) forgetOne() {
	for i, c := range g.records {
		if c.snapshot().Closed != nil {
			g.records = append(g.records[:i], g.records[i+1:]...)
			return
		}
	}
}

// refuse closes or opens the listening socket: a closed one is what "connection refused" means.
func (g *gate) refuse(wanted refusal) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case wanted == refusing && g.raw != nil:
		_ = g.raw.Close()
		g.raw = nil
		for _, c := range g.records {
			_ = c.Close()
		}
	case wanted == accepting && g.raw == nil:
		raw, err := net.Listen("tcp", g.address)
		if err != nil {
			return err
		}
		g.raw = raw
		go g.acceptFrom(raw)
	}
	return nil
}

func (g *gate) list() []connectionFacts {
	g.mu.Lock()
	defer g.mu.Unlock()
	list := make([]connectionFacts, 0, len(g.records))
	for _, c := range g.records {
		list = append(list, c.snapshot())
	}
	return list
}

// forget drops the records of closed connections; open ones stay, with their figures.
func (g *gate) forget() {
	g.mu.Lock()
	defer g.mu.Unlock()
	var open []*connection
	for _, c := range g.records {
		if c.snapshot().Closed == nil {
			open = append(open, c)
		}
	}
	g.records = open
}

// retire ends the connections of older certificates: those that no call is using now, the others when their
// call ends. It returns when a client can no longer meet one that is about to be closed.
func (g *gate) retire() {
	for deadline := time.Now().Add(time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		g.mu.Lock()
		closing := false
		for _, c := range g.records {
			if c.generation != g.identity.generation.Load() {
				closing = c.retire() || closing
			}
		}
		g.mu.Unlock()
		if !closing {
			return
		}
	}
}

// The gate is the listener of the HTTP server.

func (g *gate) Accept() (net.Conn, error) {
	select {
	case c := <-g.accepted:
		return c, nil
	case <-g.closed:
		return nil, net.ErrClosed
	}
}

func (g *gate) Close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-g.closed:
		return nil
	default:
		close(g.closed)
	}
	if g.raw != nil {
		return g.raw.Close()
	}
	return nil
}

func (g *gate) Addr() net.Addr {
	addr, _ := net.ResolveTCPAddr("tcp", g.address)
	return addr
}

// countedConn counts what arrives from the network, TLS records included.
type countedConn struct {
	net.Conn
	mu       sync.Mutex
	received int64
}

func (c *countedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.mu.Lock()
	c.received += int64(n)
	c.mu.Unlock()
	return n, err
}

// connection is a TLS connection that keeps its own record. The handshake happens at the first read.
type connection struct {
	net.Conn
	raw        *countedConn
	tls        *tls.Conn
	generation int64

	mu     sync.Mutex
	busy   bool // from the first byte of a request to the last of its answer
	inCall bool
	facts  connectionFacts
}

const handshakeTimeout = 30 * time.Second

func (c *connection) Read(b []byte) (int, error) {
	if err := c.handshake(); err != nil {
		return 0, err
	}
	n, err := c.tls.Read(b)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.facts.ApplicationBytesReceived += int64(n)
	if n > 0 {
		c.busy = true
	}
	c.failed(err)
	return n, err
}

func (c *connection) Write(b []byte) (int, error) {
	// Counted before it is sent: who has the answer finds it in the record.
	c.mu.Lock()
	c.facts.ApplicationBytesSent += int64(len(b))
	c.mu.Unlock()
	n, err := c.tls.Write(b)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.facts.ApplicationBytesSent -= int64(len(b) - n)
	c.failed(err)
	return n, err
}

func (c *connection) handshake() error {
	if c.tls.ConnectionState().HandshakeComplete {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), handshakeTimeout)
	defer cancel()
	err := c.tls.HandshakeContext(ctx)
	state := c.tls.ConnectionState()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.facts.ServerName = state.ServerName
	c.facts.HandshakeCompleted = state.HandshakeComplete
	if state.Version != 0 {
		c.facts.TLSVersion = tls.VersionName(state.Version)
	}
	c.failed(err)
	return err
}

// failed runs under the lock. An alert is what the client said, an error what we saw.
func (c *connection) failed(err error) {
	var remote *net.OpError
	switch {
	case err == nil, errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed):
	case errors.As(err, &remote) && remote.Op == "remote error":
		c.facts.Alert = remote.Err.Error()
	case c.facts.Closed == nil && !isTimeout(err):
		c.facts.Error = err.Error()
	}
}

// isTimeout tells the HTTP server's own trick (a deadline in the past wakes a read) from a broken connection.
func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

func (c *connection) Close() error {
	c.mu.Lock()
	if c.facts.Closed == nil {
		now := time.Now().UTC()
		c.facts.Closed = &now
	}
	c.mu.Unlock()
	if c.tls != nil {
		return c.tls.Close()
	}
	return c.Conn.Close()
}

// reset ends the connection so that the client sees it broken, not closed.
func (c *connection) reset() {
	if tcp, isTCP := c.raw.Conn.(*net.TCPConn); isTCP {
		_ = tcp.SetLinger(0)
	}
	c.mu.Lock()
	now := time.Now().UTC()
	c.facts.Closed = &now
	c.mu.Unlock()
	_ = c.raw.Close()
}

func (c *connection) note(fault action) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.facts.Fault = string(fault)
}

func (c *connection) began() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inCall = true
	c.facts.Requests++
}

func (c *connection) ended() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inCall = false
}

// becameIdle says that the last answer is on its way. A certificate exchanged meanwhile ends the connection.
func (c *connection) becameIdle(current int64) {
	c.mu.Lock()
	c.busy = false
	c.mu.Unlock()
	if c.generation != current {
		_ = c.Close()
	}
}

// retire closes the connection if it is idle, and says whether one should look again soon: its call is over,
// but the answer may not be out.
func (c *connection) retire() bool {
	c.mu.Lock()
	open := c.facts.Closed == nil && c.facts.Fault == ""
	busy, inCall := c.busy, c.inCall
	c.mu.Unlock()
	if open && !busy {
		_ = c.Close()
	}
	return open && busy && !inCall
}

func (c *connection) snapshot() connectionFacts {
	c.raw.mu.Lock()
	received := c.raw.received
	c.raw.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	facts := c.facts
	facts.RawBytesReceived = received
	return facts
}
