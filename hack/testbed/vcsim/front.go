package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/vmware/govmomi/vim25/soap"
)

// front stands before the simulator: it counts each call, breaks those that a rule names, judges tokens,
// and lets the simulator answer the rest.
type front struct {
	vc        *vcenter
	simulator http.Handler
	users     *users
	identity  *identity
	tokens    *tokens
	sessions  *sessions
	counters  *counters
	faults    *faults
}

func newFront(vc *vcenter, users *users, identity *identity) *front {
	return &front{
		vc: vc, simulator: vc.model.Service.ServeMux, users: users, identity: identity,
		tokens: newTokens(), sessions: newSessions(), counters: newCounters(), faults: new(faults),
	}
}

type connectionKey struct{}

func (f *front) serve(g *gate) error {
	server := &http.Server{
		Handler: f,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, connectionKey{}, c)
		},
		ConnState: func(c net.Conn, state http.ConnState) {
			if own, isOwn := c.(*connection); isOwn && state == http.StateIdle {
				own.becameIdle(f.identity.generation.Load())
			}
		},
		ErrorLog: log.New(io.Discard, "", 0), // broken connections are in the gate's records
	}
	return server.Serve(g)
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	conn := r.Context().Value(connectionKey{}).(*connection)
	conn.began()
	defer conn.ended()
	state := conn.tls.ConnectionState()
	r.TLS = &state
	if conn.generation != f.identity.generation.Load() {
		w.Header().Set("Connection", "close")
	}

	c, err := readCall(r)
	f.counters.arrived(c)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		f.counters.answered(c, outcomeBroken, 0)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(c.body))

	broken := f.faults.onCall(c.method, c.agent)
	if broken != nil && !wait(r.Context(), broken.Ms) {
		f.counters.answered(c, outcomeBroken, 0)
		return
	}
	answer := &reply{header: w.Header(), status: http.StatusOK}
	if broken == nil || broken.Action == actionDelay {
		f.perform(answer, r, c)
		// Counted before it is sent: who has the answer finds it in the counts.
		f.counters.answered(c, answer.outcome(), answer.body.Len())
		answer.send(w)
		return
	}
	f.breakCall(w, answer, r, c, broken)
}

// breakCall does what a rule says. A fault that refuses a login counts as refused, all else as broken.
func (f *front) breakCall(w http.ResponseWriter, answer *reply, r *http.Request, c *call, broken *rule) {
	result := outcomeBroken
	switch broken.Action {
	case actionDropReply, actionCut:
		f.perform(answer, r, c)
	case actionStatus:
		for name, value := range broken.Headers {
			answer.Header().Set(name, value)
		}
		answer.WriteHeader(broken.Status)
		_, _ = io.WriteString(answer, broken.Body)
	case actionFault:
		// compile saw to it that there is a fault of this name
		if fault, err := newFault(broken.Fault); err == nil {
			writeVSphereFault(answer, broken.Message, fault)
		}
		if broken.Fault == "InvalidLogin" {
			result = outcomeRefused
		}
	}
	f.counters.answered(c, result, answer.body.Len())

	switch broken.Action {
	case actionReset, actionDropReply:
		hijackAndReset(w)
	case actionCut:
		answer.sendHalf(w)
	default:
		answer.send(w)
	}
}

func wait(ctx context.Context, ms int) bool {
	if ms <= 0 {
		return true
	}
	timer := time.NewTimer(time.Duration(ms) * time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func hijackAndReset(w http.ResponseWriter) {
	hijacker, can := w.(http.Hijacker)
	if !can {
		panic(http.ErrAbortHandler)
	}
	conn, _, err := hijacker.Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	conn.(*connection).reset()
}

// perform answers as a vCenter in good health would.
func (f *front) perform(w *reply, r *http.Request, c *call) {
	switch {
	case c.method == issueToken:
		f.serveToken(w, r, c)
	case c.logsInByToken() && f.tokens.user(c.assertion) == "":
		refuseLogin(w)
	case c.path == "/api":
		// The simulator's JSON-RPC gives sessions to anybody.
		w.WriteHeader(http.StatusNotFound)
	case c.path == apiSessionPath:
		f.serveAPISession(w, r, c)
	case c.path == restSessionPath && c.logsIn() && c.user == "" && f.tokens.user(c.assertion) == "":
		w.WriteHeader(http.StatusUnauthorized)
	default:
		f.simulator.ServeHTTP(w, r)
		if bytes.Contains(w.body.Bytes(), []byte("<InvalidLoginFault")) {
			// In the words of a real vCenter: clients look for them.
			w.replaceBody(nil)
			refuseLogin(w)
		}
	}
	f.noteSession(w, c)
}

// serveAPISession is the newer form of the REST session: the same thing without the value wrapped.
func (f *front) serveAPISession(w *reply, r *http.Request, c *call) {
	if c.logsIn() && c.user == "" && f.tokens.user(c.assertion) == "" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	older := r.Clone(r.Context())
	older.URL = &url.URL{Path: restSessionPath}
	f.simulator.ServeHTTP(w, older)
	if w.status != http.StatusOK {
		return
	}
	var wrapped struct {
		Value json.RawMessage `json:"value"`
	}
	_ = json.Unmarshal(w.body.Bytes(), &wrapped)
	w.replaceBody(wrapped.Value)
	switch {
	case c.logsIn():
		w.status = http.StatusCreated
	case c.logsOut():
		w.status = http.StatusNoContent
	}
}

func (f *front) noteSession(w *reply, c *call) {
	if w.outcome() != outcomeOK {
		return
	}
	user := f.users.canonical(c.user)
	if c.user == "" {
		user = f.tokens.user(c.assertion)
	}
	switch {
	case c.logsOut():
		f.sessions.ended(c.session)
	case c.method == "TerminateSession":
		for _, key := range c.terminated {
			f.sessions.ended(key)
		}
	case c.logsIn() && strings.HasPrefix(c.method, "POST "):
		if key := w.restSession(); key != "" {
			f.sessions.opened(key, restSession, user, c)
		}
	case w.cookie(soap.SessionCookieName) != "":
		if c.method == "CloneSession" {
			user = f.sessions.user(c.session)
		}
		f.sessions.opened(w.cookie(soap.SessionCookieName), soapSession, user, c)
	default:
		f.sessions.used(c.session)
	}
}

// endSessions ends all of them, as an administrator or a restart of vCenter does: the next call of each
// client is NotAuthenticated.
func (f *front) endSessions(ctx context.Context) (int, error) {
	var keys []string
	all := f.sessions.list()
	for _, s := range all {
		if s.Kind == restSession {
			r := &http.Request{Method: http.MethodDelete, URL: &url.URL{Path: restSessionPath}, Header: http.Header{}}
			r.Header.Set(restSessionName, s.Key)
			f.simulator.ServeHTTP(&reply{header: http.Header{}}, r.WithContext(ctx))
			f.sessions.ended(s.Key)
			continue
		}
		keys = append(keys, s.Key)
	}
	if err := f.vc.endSessions(ctx, keys); err != nil {
		return 0, err
	}
	for _, key := range keys {
		f.sessions.ended(key)
	}
	return len(all), nil
}

// reply holds an answer back until it is known whether, and how much of it, the client gets.
type reply struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (w *reply) Header() http.Header         { return w.header }
func (w *reply) WriteHeader(status int)      { w.status = status }
func (w *reply) Write(b []byte) (int, error) { return w.body.Write(b) }

func (w *reply) replaceBody(body []byte) {
	w.body = *bytes.NewBuffer(body)
	w.header.Del("Content-Length")
}

func (w *reply) outcome() outcome {
	if w.status < http.StatusBadRequest {
		return outcomeOK
	}
	return outcomeRefused
}

func (w *reply) send(to http.ResponseWriter) {
	w.head(to)
	_, _ = to.Write(w.body.Bytes())
}

func (w *reply) sendHalf(to http.ResponseWriter) {
	w.head(to)
	_, _ = to.Write(w.body.Bytes()[:w.body.Len()/2])
	_ = http.NewResponseController(to).Flush()
	panic(http.ErrAbortHandler)
}

func (w *reply) head(to http.ResponseWriter) {
	if w.status != http.StatusNoContent {
		w.header.Set("Content-Length", strconv.Itoa(w.body.Len()))
	}
	to.WriteHeader(w.status)
}

func (w *reply) cookie(name string) string {
	for _, c := range (&http.Response{Header: w.header}).Cookies() {
		if c.Name == name {
			return c.Value
		}
	}
	return ""
}

// restSession reads the session out of either form of answer.
func (w *reply) restSession() string {
	var wrapped struct {
		Value string `json:"value"`
	}
	if json.Unmarshal(w.body.Bytes(), &wrapped) == nil {
		return wrapped.Value
	}
	var plain string
	_ = json.Unmarshal(w.body.Bytes(), &plain)
	return plain
}
