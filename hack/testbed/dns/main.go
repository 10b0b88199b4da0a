// Command dns answers for the names in a hosts file, and says of every other name that it does not exist.
//
// Without a server that says so, a lookup in the test bed ends in "try again", and no test could tell a
// wrong name from an outage. The file is read again whenever it changed.
//
// Invariant: it asks no other server.
package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	ttl = 1 // seconds: a test changes a name and looks again
	// An answer over this size is cut, and the client asks again over TCP.
	maxUDP = 512
)

func main() {
	listen := flag.String("listen", ":53", "address, UDP and TCP")
	hosts := flag.String("hosts", "", "hosts file: address and names in each line")
	flag.Parse()
	if *hosts == "" || flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "usage: dns --listen ADDR:53 --hosts FILE")
		os.Exit(2)
	}
	z := &zone{path: *hosts}
	if _, err := z.current(); err != nil {
		log.Fatal(err)
	}
	packets, err := net.ListenPacket("udp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	streams, err := net.Listen("tcp", packets.LocalAddr().String())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("ready dns=%s\n", packets.LocalAddr())
	failed := make(chan error, 2)
	go func() { failed <- serveUDP(packets, z) }()
	go func() { failed <- serveTCP(streams, z) }()
	log.Fatal(<-failed)
}

// zone is the hosts file. A file that cannot be read any more leaves what was read before.
type zone struct {
	path string

	mu       sync.Mutex
	modified time.Time
	size     int64
	records  *records
}

type records struct {
	byName    map[string][]netip.Addr
	byAddress map[netip.Addr][]string
}

func (z *zone) current() (*records, error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	stat, err := os.Stat(z.path)
	if err == nil && z.records != nil && stat.ModTime().Equal(z.modified) && stat.Size() == z.size {
		return z.records, nil
	}
	var text []byte
	if err == nil {
		text, err = os.ReadFile(z.path)
	}
	if err != nil {
		if z.records == nil {
			return nil, err
		}
		return z.records, nil
	}
	z.records, z.modified, z.size = parse(string(text)), stat.ModTime(), stat.Size()
	return z.records, nil
}

// parse takes what it can: a line that makes no sense is as good as no line.
func parse(text string) *records {
	r := &records{byName: map[string][]netip.Addr{}, byAddress: map[netip.Addr][]string{}}
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		line, _, _ := strings.Cut(lines.Text(), "#")
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		addr, err := netip.ParseAddr(fields[0])
		if err != nil {
			continue
		}
		for _, name := range fields[1:] {
			name = strings.ToLower(strings.TrimSuffix(name, "."))
			r.byName[name] = append(r.byName[name], addr)
			r.byAddress[addr] = append(r.byAddress[addr], name)
		}
	}
	return r
}

func serveUDP(conn net.PacketConn, z *zone) error {
	buffer := make([]byte, 4096)
	for {
		n, from, err := conn.ReadFrom(buffer)
		if errors.Is(err, net.ErrClosed) {
			return err
		}
		if err != nil {
			continue
		}
		if answer := answerTo(buffer[:n], z, maxUDP); answer != nil {
			_, _ = conn.WriteTo(answer, from)
		}
	}
}

func serveTCP(listener net.Listener, z *zone) error {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close()
			for {
				_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
				var size uint16
				if binary.Read(conn, binary.BigEndian, &size) != nil {
					return
				}
				query := make([]byte, size)
				if _, err := io.ReadFull(conn, query); err != nil {
					return
				}
				answer := answerTo(query, z, 65535)
				if answer == nil {
					return
				}
				if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...)); err != nil {
					return
				}
			}
		}()
	}
}

// answerTo is nil for what is no query.
func answerTo(query []byte, z *zone, limit int) []byte {
	var parser dnsmessage.Parser
	header, err := parser.Start(query)
	if err != nil || header.Response {
		return nil
	}
	reply := dnsmessage.Message{Header: dnsmessage.Header{
		ID: header.ID, Response: true, OpCode: header.OpCode, Authoritative: true,
		RecursionDesired: header.RecursionDesired, RecursionAvailable: true,
	}}
	question, err := parser.Question()
	switch {
	case header.OpCode != 0:
		reply.RCode = dnsmessage.RCodeNotImplemented
	case err != nil:
		reply.RCode = dnsmessage.RCodeFormatError
	default:
		reply.Questions = []dnsmessage.Question{question}
		known, err := z.current()
		if err != nil {
			reply.RCode = dnsmessage.RCodeServerFailure
			break
		}
		reply.Answers, reply.RCode = known.answer(question)
		if reply.RCode != dnsmessage.RCodeSuccess || len(reply.Answers) == 0 {
			reply.Authorities = []dnsmessage.Resource{startOfAuthority()}
		}
	}
	packed, err := reply.Pack()
	if err != nil {
		return nil
	}
	if len(packed) > limit {
		reply.Truncated, reply.Answers, reply.Authorities = true, nil, nil
		if packed, err = reply.Pack(); err != nil {
			return nil
		}
	}
	return packed
}

func (r *records) answer(q dnsmessage.Question) ([]dnsmessage.Resource, dnsmessage.RCode) {
	name := strings.ToLower(strings.TrimSuffix(q.Name.String(), "."))
	head := dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET, TTL: ttl}
	var answers []dnsmessage.Resource
	if addr, isReverse := reverse(name); isReverse {
		names, known := r.byAddress[addr]
		if !known {
			return nil, dnsmessage.RCodeNameError
		}
		for _, target := range names {
			if ptr, err := dnsmessage.NewName(target + "."); err == nil && (q.Type == dnsmessage.TypePTR || q.Type == dnsmessage.TypeALL) {
				answers = append(answers, dnsmessage.Resource{Header: head, Body: &dnsmessage.PTRResource{PTR: ptr}})
			}
		}
		return answers, dnsmessage.RCodeSuccess
	}
	addresses, known := r.byName[name]
	if !known {
		return nil, dnsmessage.RCodeNameError
	}
	for _, addr := range addresses {
		switch {
		case addr.Is4() && (q.Type == dnsmessage.TypeA || q.Type == dnsmessage.TypeALL):
			answers = append(answers, dnsmessage.Resource{Header: head, Body: &dnsmessage.AResource{A: addr.As4()}})
		case addr.Is6() && (q.Type == dnsmessage.TypeAAAA || q.Type == dnsmessage.TypeALL):
			answers = append(answers, dnsmessage.Resource{Header: head, Body: &dnsmessage.AAAAResource{AAAA: addr.As16()}})
		}
	}
	return answers, dnsmessage.RCodeSuccess
}

// startOfAuthority makes a negative answer one that resolvers believe.
func startOfAuthority() dnsmessage.Resource {
	root := dnsmessage.MustNewName(".")
	return dnsmessage.Resource{
		Header: dnsmessage.ResourceHeader{Name: root, Class: dnsmessage.ClassINET, TTL: ttl},
		Body:   &dnsmessage.SOAResource{NS: root, MBox: root, Serial: 1, Refresh: 60, Retry: 60, Expire: 60, MinTTL: ttl},
	}
}

// reverse reads the address out of a name under in-addr.arpa or ip6.arpa.
func reverse(name string) (netip.Addr, bool) {
	if labels, found := strings.CutSuffix(name, ".in-addr.arpa"); found {
		parts := strings.Split(labels, ".")
		for i, j := 0, len(parts)-1; i < j; i, j = i+1, j-1 {
			parts[i], parts[j] = parts[j], parts[i]
		}
		addr, err := netip.ParseAddr(strings.Join(parts, "."))
		return addr, err == nil
	}
	if labels, found := strings.CutSuffix(name, ".ip6.arpa"); found {
		digits := strings.Split(labels, ".")
		if len(digits) != 32 {
			return netip.Addr{}, false
		}
		var text strings.Builder
		for i := range digits {
			if i > 0 && i%4 == 0 {
				text.WriteByte(':')
			}
			text.WriteString(digits[len(digits)-1-i])
		}
		addr, err := netip.ParseAddr(text.String())
		return addr, err == nil
	}
	return netip.Addr{}, false
}
