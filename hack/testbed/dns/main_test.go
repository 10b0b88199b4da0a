package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

const hosts = `
# a comment
192.0.2.10  VC1.example vc1
2001:db8::1 vc1.example   # both families
nonsense    vc2.example
192.0.2.11
`

func resolver(t *testing.T, text string) (*net.Resolver, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hosts")
	write(t, path, text)
	z := &zone{path: path}
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	streams, err := net.Listen("tcp", packets.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = serveUDP(packets, z) }()
	go func() { _ = serveTCP(streams, z) }()
	t.Cleanup(func() { _ = packets.Close(); _ = streams.Close() })
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, packets.LocalAddr().String())
	}}, path
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestNamesAndAddressesAreAnswered(t *testing.T) {
	r, _ := resolver(t, hosts)
	for name, want := range map[string]string{"vc1.example.": "192.0.2.10 2001:db8::1", "VC1.": "192.0.2.10"} {
		got, err := r.LookupHost(context.Background(), name)
		slices.Sort(got)
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%s is %v, %v", name, got, err)
		}
	}
	for addr, want := range map[string]string{"192.0.2.10": "vc1.example. vc1.", "2001:db8::1": "vc1.example."} {
		got, err := r.LookupAddr(context.Background(), addr)
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%s is %v, %v", addr, got, err)
		}
	}
}

func TestEveryOtherNameDoesNotExist(t *testing.T) {
	r, _ := resolver(t, hosts)
	for _, name := range []string{"vc2.example.", "example.", "vc1.example.com."} {
		_, err := r.LookupHost(context.Background(), name)
		var failed *net.DNSError
		if !errors.As(err, &failed) || !failed.IsNotFound || failed.IsTemporary {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := r.LookupAddr(context.Background(), "192.0.2.11")
	var failed *net.DNSError
	if !errors.As(err, &failed) || !failed.IsNotFound {
		t.Errorf("reverse: %v", err)
	}
}

func TestAKnownNameWithoutTheTypeIsAnEmptyAnswer(t *testing.T) {
	known := parse(hosts)
	answers, code := known.answer(dnsmessage.Question{Name: dnsmessage.MustNewName("vc1."), Type: dnsmessage.TypeAAAA, Class: dnsmessage.ClassINET})
	if len(answers) != 0 || code != dnsmessage.RCodeSuccess {
		t.Fatalf("%v, %v", answers, code)
	}
}

func TestTheFileIsReadAgainWhenItChanges(t *testing.T) {
	r, path := resolver(t, hosts)
	if _, err := r.LookupHost(context.Background(), "vc1."); err != nil {
		t.Fatal(err)
	}
	write(t, path, "192.0.2.99 other\n")
	if got, err := r.LookupHost(context.Background(), "other."); err != nil || got[0] != "192.0.2.99" {
		t.Fatalf("%v, %v", got, err)
	}
	if _, err := r.LookupHost(context.Background(), "vc1."); err == nil {
		t.Fatal("the old name is still there")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := r.LookupHost(context.Background(), "other."); err != nil {
		t.Fatalf("without the file: %v", err)
	}
}

func TestALongAnswerComesOverTCP(t *testing.T) {
	var text strings.Builder
	for i := range 100 {
		fmt.Fprintf(&text, "192.0.2.%d many\n", i)
	}
	r, _ := resolver(t, text.String())
	got, err := r.LookupHost(context.Background(), "many.")
	if err != nil || len(got) != 100 {
		t.Fatalf("%d addresses, %v", len(got), err)
	}
}

func TestNoiseIsNotAnswered(t *testing.T) {
	z := &zone{path: "/nonexistent"}
	for _, noise := range [][]byte{nil, {1, 2, 3}, make([]byte, 5)} {
		if answer := answerTo(noise, z, maxUDP); answer != nil {
			t.Errorf("%v answered by %v", noise, answer)
		}
	}
}
