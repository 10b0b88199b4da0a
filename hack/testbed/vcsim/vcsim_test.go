package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vmware/govmomi"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/property"
	vimsession "github.com/vmware/govmomi/session"
	"github.com/vmware/govmomi/sts"
	"github.com/vmware/govmomi/vapi/rest"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

const (
	admin1 = "administrator@vsphere.local"
	secret = "correct horse"
)

// bed is one vCenter, with its admin port, on loopback.
type bed struct {
	t       *testing.T
	vc      *vcenter
	address string
	admin   *httptest.Server
	file    string
}

func start(t *testing.T) *bed { return startWith(t, inventoryOptions{vms: 2}) }

func startWith(t *testing.T, o inventoryOptions) *bed {
	t.Helper()
	if o.datacenters == nil {
		o.datacenters = []string{"DC0"}
	}
	o.prefix, o.firstIP = "node-", "10.100.0.254"
	if o.seed == "" {
		o.seed = "vc0"
	}
	o.file = filepath.Join(t.TempDir(), "inventory.json")
	users := newUsers("vsphere.local")
	must(t, users.replace(map[string]string{admin1: secret}))
	raw, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	id, err := loadIdentity(options{advertise: raw.Addr().String()}, raw.Addr())
	must(t, err)
	vc, err := newVCenter(o, version{Version: "8.0.3", Build: "1"}, users, raw.Addr().String())
	must(t, err)
	f := newFront(vc, users, id)
	g := newGate(raw, id, f.faults)
	served := make(chan error, 1)
	go func() { served <- f.serve(g) }()
	b := &bed{t: t, vc: vc, address: raw.Addr().String(), admin: httptest.NewServer(newAdmin(f, g)), file: o.file}
	t.Cleanup(func() {
		b.admin.Close()
		_ = g.Close()
		<-served
		for _, c := range g.records {
			_ = c.Close()
		}
		vc.remove()
	})
	return b
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (b *bed) url(user, password string) *url.URL {
	return &url.URL{Scheme: "https", Host: b.address, Path: vim25.Path, User: url.UserPassword(user, password)}
}

// connect makes a client that has not logged in.
func (b *bed) connect(agent string) *govmomi.Client {
	b.t.Helper()
	sc := soap.NewClient(b.url("", ""), true)
	sc.UserAgent = agent
	vc, err := vim25.NewClient(context.Background(), sc)
	must(b.t, err)
	b.t.Cleanup(sc.CloseIdleConnections)
	return &govmomi.Client{Client: vc, SessionManager: vimsession.NewManager(vc)}
}

func (b *bed) login(agent, user, password string) (*govmomi.Client, error) {
	b.t.Helper()
	c := b.connect(agent)
	return c, c.Login(context.Background(), url.UserPassword(user, password))
}

func (b *bed) client() *govmomi.Client {
	b.t.Helper()
	c, err := b.login("test", admin1, secret)
	must(b.t, err)
	return c
}

// ask sends a request to the admin port and expects the status.
func (b *bed) ask(method, path string, body any, status int, into any) {
	b.t.Helper()
	text, err := json.Marshal(body)
	must(b.t, err)
	req, err := http.NewRequest(method, b.admin.URL+path, bytes.NewReader(text))
	must(b.t, err)
	res, err := http.DefaultClient.Do(req)
	must(b.t, err)
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	must(b.t, err)
	if res.StatusCode != status {
		b.t.Fatalf("%s %s: status %d, not %d: %s", method, path, res.StatusCode, status, answer)
	}
	if into != nil {
		must(b.t, json.Unmarshal(answer, into))
	}
}

func (b *bed) put(path string, body any) { b.t.Helper(); b.ask("PUT", path, body, 200, nil) }

func (b *bed) calls() countersView {
	b.t.Helper()
	var v countersView
	b.ask("GET", "/calls", nil, 200, &v)
	return v
}

func (b *bed) connections() []connectionFacts {
	b.t.Helper()
	var list []connectionFacts
	b.ask("GET", "/connections", nil, 200, &list)
	return list
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !is(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("did not happen: %s", what)
		}
	}
}

func equal[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if g, w := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", want); g != w {
		t.Fatalf("%s is %s, not %s", what, g, w)
	}
}

func isFault[T any](t *testing.T, err error) {
	t.Helper()
	if err == nil || !soap.IsSoapFault(err) {
		t.Fatalf("no SOAP fault but %v", err)
	}
	fault := soap.ToSoapFault(err).VimFault()
	if _, is := fault.(T); !is {
		t.Fatalf("fault is %T, not %T", fault, *new(T))
	}
}

func TestOneWrongCharacterInThePasswordIsAnInvalidLogin(t *testing.T) {
	b := start(t)
	_, err := b.login("t", admin1, secret)
	must(t, err)
	for _, wrong := range []string{secret + "x", secret[1:], "Correct horse", "correct horsf", ""} {
		_, err := b.login("t", admin1, wrong)
		isFault[types.InvalidLogin](t, err)
		equal(t, "message", soap.ToSoapFault(err).String, "Cannot complete login due to an incorrect user name or password.")
	}
	_, err = b.login("t", "nobody@vsphere.local", secret)
	isFault[types.InvalidLogin](t, err)
}

func TestUserNamesAreComparedAsVCenterDoes(t *testing.T) {
	b := start(t)
	for _, name := range []string{"Administrator@VSPHERE.LOCAL", `VSPHERE.LOCAL\administrator`, "administrator"} {
		_, err := b.login("t", name, secret)
		must(t, err)
	}
	_, err := b.login("t", "administrator@example.com", secret)
	isFault[types.InvalidLogin](t, err)
}

func TestEveryPrintableCharacterWorksInAPassword(t *testing.T) {
	b := start(t)
	var all strings.Builder
	for c := rune(' '); c <= '~'; c++ {
		all.WriteRune(c)
	}
	table := map[string]string{}
	for c := ' '; c <= '~'; c++ { // one user for each, so that a failure names the character
		table[fmt.Sprintf("u%d@vsphere.local", c)] = string(c)
	}
	table["all@vsphere.local"] = all.String()
	b.put("/users", table)
	for name, password := range table {
		if _, err := b.login("t", name, password); err != nil {
			t.Errorf("SOAP login with %q: %v", password, err)
		}
		if status, _ := b.restLogin(restSessionPath, name, password); status != 200 {
			t.Errorf("REST login with %q: %d", password, status)
		}
	}
	_, err := b.login("t", "all@vsphere.local", all.String()+" ")
	isFault[types.InvalidLogin](t, err)
	_, err = b.login("t", admin1, secret)
	isFault[types.InvalidLogin](t, err) // PUT replaces the table
}

func (b *bed) http() *http.Client {
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true,
	}}
}

func (b *bed) restLogin(path, user, password string) (int, string) {
	b.t.Helper()
	req, err := http.NewRequest("POST", "https://"+b.address+path, nil)
	must(b.t, err)
	req.SetBasicAuth(user, password)
	req.Header.Set("User-Agent", "rest")
	res, err := b.http().Do(req)
	must(b.t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	must(b.t, err)
	return res.StatusCode, strings.TrimSpace(string(body))
}

func TestRestLoginsAreJudgedByTheSameTable(t *testing.T) {
	b := start(t)
	status, body := b.restLogin(apiSessionPath, admin1, secret)
	equal(t, "status", status, 201)
	var key string
	must(t, json.Unmarshal([]byte(body), &key))
	for _, path := range []string{restSessionPath, apiSessionPath} {
		status, _ = b.restLogin(path, admin1, secret+"x")
		equal(t, "status of "+path, status, 401)
	}
	res, err := b.http().Post("https://"+b.address+restSessionPath, "application/json", nil)
	must(t, err)
	equal(t, "status without credentials", res.StatusCode, 401)
	res, err = b.http().Post("https://"+b.address+"/api", "application/json", strings.NewReader(`{"params":{"serviceId":"com.vmware.cis.session","operationId":"create"}}`))
	must(t, err)
	equal(t, "status of JSON-RPC", res.StatusCode, 404)

	list := func() int {
		req, _ := http.NewRequest("GET", "https://"+b.address+"/rest/com/vmware/cis/tagging/category", nil)
		req.Header.Set(restSessionName, key)
		res, err := b.http().Do(req)
		must(t, err)
		return res.StatusCode
	}
	equal(t, "a call in the session", list(), 200)
	b.ask("DELETE", "/sessions", nil, 200, nil)
	equal(t, "a call after it was ended", list(), 401)
	equal(t, "logins", b.calls().UserAgents["rest"].Logins, logins{OK: 1, Refused: 2})
}

func TestTokensAreGivenForPasswordsOnlyAndOnlyOursAreTaken(t *testing.T) {
	b := start(t)
	ctx := context.Background()
	c := b.connect("token")
	issuer, err := sts.NewClient(ctx, c.Client)
	must(t, err)
	equal(t, "host of the token service", issuer.URL().Host, b.address)
	request := func(password string) (*sts.Signer, error) {
		return issuer.Issue(ctx, sts.TokenRequest{Userinfo: url.UserPassword(admin1, password), Lifetime: time.Minute})
	}
	if _, err := request(secret + "x"); err == nil {
		t.Fatal("a token for a wrong password")
	}
	if _, err := issuer.Issue(ctx, sts.TokenRequest{Lifetime: time.Minute, Userinfo: url.User("")}); err == nil {
		t.Fatal("a token for nothing")
	}
	signer, err := request(secret)
	must(t, err)
	must(t, c.SessionManager.LoginByToken(c.WithHeader(ctx, soap.Header{Security: signer})))
	user, err := c.SessionManager.UserSession(ctx)
	must(t, err)
	equal(t, "user", user.UserName, admin1)

	r := rest.NewClient(c.Client)
	must(t, r.LoginByToken(r.WithSigner(ctx, signer)))

	forged := *signer
	forged.Token = strings.Replace(signer.Token, ` ID="_`, ` ID="_x`, 1)
	other := b.connect("token")
	isFault[types.InvalidLogin](t, other.SessionManager.LoginByToken(other.WithHeader(ctx, soap.Header{Security: &forged})))
	if err := rest.NewClient(other.Client).LoginByToken(r.WithSigner(ctx, &forged)); err == nil {
		t.Fatal("REST took a forged token")
	}
}

func TestCallsAreCountedByUserAgentAndMethod(t *testing.T) {
	b := start(t)
	ctx := context.Background()
	one, err := b.login("agent-one", admin1, secret)
	must(t, err)
	_, err = b.login("agent-two", admin1, "wrong")
	isFault[types.InvalidLogin](t, err)
	for range 3 {
		_, err = methods.GetCurrentTime(ctx, one)
		must(t, err)
	}
	v := b.calls()
	equal(t, "calls of the first", v.UserAgents["agent-one"].Calls, map[string]int{"CurrentTime": 3, "Login": 1, "RetrieveServiceContent": 1})
	equal(t, "logins of the first", v.UserAgents["agent-one"].Logins, logins{OK: 1})
	equal(t, "logins of the second", v.UserAgents["agent-two"].Logins, logins{Refused: 1})
	equal(t, "all logins", v.Logins, logins{OK: 1, Refused: 1})
	equal(t, "all calls", v.Total, 7)
	equal(t, "sessions alive", v.SessionsAlive, 1)
	if v.BytesReceived < 1000 || v.BytesSent < 1000 {
		t.Fatalf("bytes: %d in, %d out", v.BytesReceived, v.BytesSent)
	}
	must(t, one.Logout(ctx))
	v = b.calls()
	equal(t, "sessions after logout", v.SessionsAlive, 0)
	equal(t, "logouts", v.UserAgents["agent-one"].Logouts, 1)

	var attempts []attempt
	b.ask("GET", "/logins", nil, 200, &attempts)
	equal(t, "attempts", len(attempts), 2)
	equal(t, "the last attempt", []any{attempts[1].User, attempts[1].Outcome, attempts[1].UserAgent}, []any{admin1, outcomeRefused, "agent-two"})

	b.ask("POST", "/calls/reset", nil, 200, nil)
	equal(t, "calls after reset", b.calls().Total, 0)
}

func TestEndedSessionsAreNotAuthenticated(t *testing.T) {
	b := start(t)
	ctx := context.Background()
	c := b.client()
	_, err := methods.GetCurrentTime(ctx, c)
	must(t, err)
	var list []session
	b.ask("GET", "/sessions", nil, 200, &list)
	equal(t, "sessions", len(list), 1)
	equal(t, "user and agent", []string{list[0].User, list[0].UserAgent}, []string{admin1, "test"})

	b.ask("DELETE", "/sessions", nil, 200, nil)
	_, err = methods.GetCurrentTime(ctx, c)
	isFault[types.NotAuthenticated](t, err)
	equal(t, "sessions alive", b.calls().SessionsAlive, 0)
	must(t, c.Login(ctx, url.UserPassword(admin1, secret)))
	_, err = methods.GetCurrentTime(ctx, c)
	must(t, err)
	equal(t, "logins", b.calls().UserAgents["test"].Logins, logins{OK: 2})
}

func TestTheVersionChangesWhileItRuns(t *testing.T) {
	b := start(t)
	about := b.connect("t").ServiceContent.About
	equal(t, "about", []string{about.Version, about.ApiVersion, about.ApiType}, []string{"8.0.3", "8.0.3.0", "VirtualCenter"})
	b.put("/version", version{Version: "7.0.2", Build: "17694817"})
	about = b.connect("t").ServiceContent.About
	equal(t, "about", []string{about.Version, about.ApiVersion, about.Build}, []string{"7.0.2", "7.0.2.0", "17694817"})
	b.ask("PUT", "/version", map[string]string{"apiVersion": "9"}, 400, nil)
}

func TestMachinesHaveTheirUuidNameAndAddress(t *testing.T) {
	b := startWith(t, inventoryOptions{vms: 3, datacenters: []string{"east", "emea/west"}})
	ctx := context.Background()
	var rows []machine
	b.ask("GET", "/inventory", nil, 200, &rows)
	text, err := os.ReadFile(b.file)
	must(t, err)
	var written []machine
	must(t, json.Unmarshal(text, &written))
	equal(t, "file", written, rows)
	equal(t, "addresses", []string{rows[0].IP, rows[1].IP, rows[2].IP}, []string{"10.100.0.254", "10.100.0.255", "10.100.1.0"})
	equal(t, "datacenters", []string{rows[0].Datacenter, rows[1].Datacenter, rows[2].Datacenter}, []string{"east", "emea/west", "east"})

	c := b.client()
	finder := find.NewFinder(c.Client)
	for _, row := range rows {
		dc, err := finder.Datacenter(ctx, "/"+row.Datacenter)
		must(t, err)
		ref, err := object.NewSearchIndex(c.Client).FindByUuid(ctx, dc, row.UUID, true, nil)
		must(t, err)
		if ref == nil {
			t.Fatalf("%s is not found by its UUID in %s", row.Name, row.Datacenter)
		}
		var vm mo.VirtualMachine
		must(t, property.DefaultCollector(c.Client).RetrieveOne(ctx, ref.Reference(), nil, &vm))
		equal(t, "machine", []any{vm.Name, vm.Config.Uuid, vm.Guest.HostName, vm.Guest.IpAddress, vm.Guest.Net[0].IpAddress[0], vm.Runtime.PowerState, vm.Guest.ToolsRunningStatus},
			[]any{row.Name, row.UUID, row.HostName, row.IP, row.IP, types.VirtualMachinePowerStatePoweredOn, "guestToolsRunning"})
	}
}

func TestUuidsFollowFromTheSeed(t *testing.T) {
	uuids := func(seed string) string {
		b := startWith(t, inventoryOptions{vms: 1, seed: seed})
		return b.vc.inventory.list()[0].UUID + " " + b.connect("t").ServiceContent.About.InstanceUuid
	}
	first := uuids("a")
	equal(t, "the same seed", uuids("a"), first)
	if uuids("b") == first {
		t.Fatal("another seed gave the same UUIDs")
	}
}

func TestMachinesComeAndGo(t *testing.T) {
	b := start(t)
	ctx := context.Background()
	wanted := machine{Name: "late", UUID: "0123456789ABCDEF0123456789abcdef", HostName: "late.example", IP: "10.9.9.9", Datacenter: "DC0"}
	var made machine
	b.ask("POST", "/vms", wanted, 200, &made)
	equal(t, "uuid", made.UUID, "01234567-89ab-cdef-0123-456789abcdef")
	b.ask("POST", "/vms", wanted, 409, nil)
	b.ask("POST", "/vms", machine{Name: "off", Power: powerOff}, 200, nil)
	b.ask("POST", "/vms", machine{Name: "lost", Datacenter: "nowhere"}, 400, nil)
	b.ask("POST", "/vms", map[string]string{"nmae": "typo"}, 400, nil)

	index := object.NewSearchIndex(b.client().Client)
	ref, err := index.FindByUuid(ctx, nil, made.UUID, true, nil)
	must(t, err)
	if ref == nil {
		t.Fatal("the new machine is not found")
	}
	b.ask("DELETE", "/vms/late", nil, 200, nil)
	b.ask("DELETE", "/vms/late", nil, 404, nil)
	b.ask("DELETE", "/vms/off", nil, 200, nil)
	ref, err = index.FindByUuid(ctx, nil, made.UUID, true, nil)
	must(t, err)
	equal(t, "after removal", ref, nil)
	var rows []machine
	text, err := os.ReadFile(b.file)
	must(t, err)
	must(t, json.Unmarshal(text, &rows))
	equal(t, "rows in the file", len(rows), 2)
}

func TestTheCertificateIsExchangedWhileItRuns(t *testing.T) {
	b := start(t)
	ctx := context.Background()
	c := b.client()
	seen := func() string {
		conn, err := tls.Dial("tcp", b.address, &tls.Config{InsecureSkipVerify: true})
		must(t, err)
		defer conn.Close()
		var one strings.Builder
		must(t, pem.Encode(&one, &pem.Block{Type: "CERTIFICATE", Bytes: conn.ConnectionState().PeerCertificates[0].Raw}))
		return one.String()
	}
	var before, after identityFacts
	b.ask("GET", "/certificate", nil, 200, &before)
	equal(t, "certificate", seen(), before.Cert)

	chain, key, err := selfMade([]string{"127.0.0.1"}, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	must(t, err)
	connected := len(b.connections())
	b.ask("PUT", "/certificate", map[string]string{"cert": string(chain), "key": string(key)}, 200, &after)
	equal(t, "certificate", seen(), string(chain))
	equal(t, "described", after.Cert, string(chain))
	_, err = methods.GetCurrentTime(ctx, c) // the session lives on, over a new connection
	must(t, err)
	if len(b.connections()) != connected+2 {
		t.Fatal("the old connection outlived the certificate")
	}
	b.ask("PUT", "/certificate", map[string]any{"selfMade": []string{"127.0.0.1"}, "validity": "-1h"}, 200, &after)
	if !after.NotAfter.Before(time.Now()) {
		t.Fatalf("valid until %s", after.NotAfter)
	}
	b.ask("PUT", "/certificate", map[string]string{"cert": string(chain), "key": "none"}, 400, nil)
}

func TestAClientThatTrustsUsNotIsSeenToSendNothing(t *testing.T) {
	b := start(t)
	_, err := (&http.Client{}).Post("https://"+b.address+"/sdk", "text/xml", strings.NewReader("<secret/>"))
	var untrusted *tls.CertificateVerificationError
	if !errors.As(err, &untrusted) {
		t.Fatalf("no distrust but %v", err)
	}
	eventually(t, "the connection is recorded as closed", func() bool {
		list := b.connections()
		return len(list) == 1 && list[0].Closed != nil
	})
	seen := b.connections()[0]
	equal(t, "handshake, bytes, requests", []any{seen.HandshakeCompleted, seen.ApplicationBytesReceived, seen.Requests}, []any{false, 0, 0})
	if !strings.Contains(seen.Alert, "certificate") || seen.RawBytesReceived == 0 {
		t.Fatalf("record is %+v", seen)
	}

	b.ask("POST", "/connections/reset", nil, 200, nil)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(b.certificate()))
	trusting := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: true}}
	res, err := trusting.Post("https://"+b.address+"/sdk", "text/xml", strings.NewReader("<secret/>"))
	must(t, err)
	_ = res.Body.Close()
	seen = b.connections()[0]
	if !seen.HandshakeCompleted || seen.ApplicationBytesReceived < 50 || seen.ApplicationBytesSent < 50 || seen.Requests != 1 || seen.Alert != "" {
		t.Fatalf("record is %+v", seen)
	}
}

func (b *bed) certificate() string {
	b.t.Helper()
	var facts identityFacts
	b.ask("GET", "/certificate", nil, 200, &facts)
	return facts.Cert
}

func TestPrivilegesAreAnsweredFromTheTable(t *testing.T) {
	b := start(t)
	ctx := context.Background()
	b.put("/users", map[string]string{admin1: secret, "csi@vsphere.local": "other"})
	c := b.client()
	root := c.ServiceContent.RootFolder
	store := types.ManagedObjectReference{Type: "Datastore", Value: "datastore-1"}
	const files, search = "Datastore.FileManagement", "Cns.Searchable"
	ids := []string{files, search}

	own := func(entity types.ManagedObjectReference) string {
		res, err := methods.HasPrivilegeOnEntities(ctx, c, &types.HasPrivilegeOnEntities{This: *c.ServiceContent.AuthorizationManager, Entity: []types.ManagedObjectReference{entity}, PrivId: ids})
		must(t, err)
		return shown(res.Returnval[0].PrivAvailability)
	}
	others := func(user string, entity types.ManagedObjectReference) string {
		res, err := methods.HasUserPrivilegeOnEntities(ctx, c, &types.HasUserPrivilegeOnEntities{This: *c.ServiceContent.AuthorizationManager, Entities: []types.ManagedObjectReference{entity}, UserName: user, PrivId: ids})
		must(t, err)
		return shown(res.Returnval[0].PrivAvailability)
	}
	held := func(user string, entity types.ManagedObjectReference) []string {
		res, err := methods.FetchUserPrivilegeOnEntities(ctx, c, &types.FetchUserPrivilegeOnEntities{This: *c.ServiceContent.AuthorizationManager, Entities: []types.ManagedObjectReference{entity}, UserName: user})
		must(t, err)
		return res.Returnval[0].Privileges
	}
	equal(t, "by default", own(root), "true true")
	b.put("/privileges", map[string]map[string]bool{
		"VSPHERE.LOCAL\\csi": {files + "/Datastore": false},
		"*":                  {search: false, search + "/" + store.Value: true},
	})
	equal(t, "the caller on the root", own(root), "true false")
	equal(t, "the caller on the store", own(store), "true true")
	equal(t, "csi on the root", others("csi@vsphere.local", root), "true false")
	equal(t, "csi on the store", others("CSI@vsphere.local", store), "false true")
	equal(t, "what csi holds on the store", slices.Contains(held("csi@vsphere.local", store), files), false)
	equal(t, "what csi holds on the root", slices.Contains(held("csi@vsphere.local", root), files), true)

	permissions, err := object.NewAuthorizationManager(c.Client).RetrieveEntityPermissions(ctx, root, true)
	must(t, err)
	roles, err := object.NewAuthorizationManager(c.Client).RoleList(ctx)
	must(t, err)
	at := slices.IndexFunc(permissions, func(p types.Permission) bool { return p.Principal == `VSPHERE.LOCAL\csi` })
	if at < 0 {
		t.Fatalf("no permission of csi in %+v", permissions)
	}
	role := roles.ById(permissions[at].RoleId)
	equal(t, "csi's role", []bool{slices.Contains(role.Privilege, files), slices.Contains(role.Privilege, search)}, []bool{true, false})
}

func shown(list []types.PrivilegeAvailability) string {
	var parts []string
	for _, one := range list {
		parts = append(parts, fmt.Sprint(one.IsGranted))
	}
	return strings.Join(parts, " ")
}

func TestFaultRulesBreakTheCallsTheyName(t *testing.T) {
	b := start(t)
	ctx := context.Background()
	c := b.client()
	now := func() error { _, err := methods.GetCurrentTime(ctx, c); return err }

	b.put("/faults", []rule{{Action: actionFault, Method: "^CurrentTime$", UserAgent: "^test$", Skip: 1, Times: 2, Fault: "NoPermission", Message: "a < b"}})
	must(t, now())
	for range 2 {
		err := now()
		isFault[types.NoPermission](t, err)
		equal(t, "message", soap.ToSoapFault(err).String, "a < b")
	}
	must(t, now())
	var rules []rule
	b.ask("GET", "/faults", nil, 200, &rules)
	equal(t, "hits", rules[0].Hits, 2)

	b.put("/faults", []rule{{Action: actionStatus, Method: "CurrentTime", Status: 503, Headers: map[string]string{"Retry-After": "7"}, Body: "<html>busy</html>"}})
	if err := now(); err == nil || !strings.Contains(err.Error(), "503") {
		t.Fatalf("no 503 but %v", err)
	}
	for _, broken := range []action{actionReset, actionDropReply} {
		b.put("/faults", []rule{{Action: broken, Method: "CurrentTime"}})
		if err := now(); !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.EOF) {
			t.Fatalf("%s: no reset but %v", broken, err)
		}
	}
	b.put("/faults", []rule{{Action: actionCut, Method: "CurrentTime"}})
	if err := now(); err == nil || !strings.Contains(err.Error(), "EOF") {
		t.Fatalf("no cut but %v", err)
	}
	b.put("/faults", []rule{{Action: actionDelay, Method: "CurrentTime", Ms: 60}})
	begin := time.Now()
	must(t, now())
	if time.Since(begin) < 60*time.Millisecond {
		t.Fatal("no delay")
	}
	b.put("/faults", []rule{})
	must(t, now())
}

func TestADroppedReplyWasCarriedOut(t *testing.T) {
	b := start(t)
	c := b.client()
	create := func() error {
		_, err := object.NewRootFolder(c.Client).CreateFolder(context.Background(), "made")
		return err
	}
	b.put("/faults", []rule{{Action: actionReset, Method: "CreateFolder", Times: 1}, {Action: actionDropReply, Method: "CreateFolder", Times: 1}})
	for range 2 {
		if err := create(); err == nil || soap.IsSoapFault(err) {
			t.Fatalf("no broken connection but %v", err)
		}
	}
	isFault[types.DuplicateName](t, create())
}

func TestABrokenLoginIsNeitherGoodNorRefused(t *testing.T) {
	b := start(t)
	b.put("/faults", []rule{{Action: actionReset, Method: "^Login$", Times: 1}, {Action: actionFault, Method: "^Login$", Fault: "InvalidLogin", Times: 1}})
	for range 2 {
		if _, err := b.login("t", admin1, secret); err == nil {
			t.Fatal("a login that a rule breaks succeeded")
		}
	}
	_, err := b.login("t", admin1, secret)
	must(t, err)
	equal(t, "logins", b.calls().Logins, logins{OK: 1, Refused: 1, Broken: 1})
}

func TestConnectionsAreRefusedResetAndLeftHanging(t *testing.T) {
	b := start(t)
	c := b.client()
	dial := func() error {
		conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 200 * time.Millisecond}, "tcp", b.address, &tls.Config{InsecureSkipVerify: true})
		if err == nil {
			_ = conn.Close()
		}
		return err
	}
	b.put("/faults", []rule{{Action: actionRefuseConnection}})
	if err := dial(); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Fatalf("not refused but %v", err)
	}
	if _, err := methods.GetCurrentTime(context.Background(), c); err == nil {
		t.Fatal("an old connection still works")
	}
	b.put("/faults", []rule{{Action: actionResetConnection, Times: 1}, {Action: actionHangConnection, Times: 1}})
	if err := dial(); !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("not reset but %v", err)
	}
	var timeout net.Error
	if err := dial(); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Fatalf("no timeout but %v", err)
	}
	must(t, dial())
	_, err := methods.GetCurrentTime(context.Background(), c)
	must(t, err)
}

func TestARuleThatCannotWorkIsRefused(t *testing.T) {
	b := start(t)
	for _, wrong := range []rule{
		{Action: "explode"}, {Action: actionFault, Fault: "NoSuchFault"}, {Action: actionStatus}, {Action: actionDelay},
		{Action: actionCut, Method: "("}, {Action: actionRefuseConnection, Method: "Login"},
	} {
		b.ask("PUT", "/faults", []rule{wrong}, 400, nil)
	}
	var rules []rule
	b.ask("GET", "/faults", nil, 200, &rules)
	equal(t, "rules", len(rules), 0)
}

func TestVolumesAreListed(t *testing.T) {
	b := start(t)
	var list []volume
	b.ask("GET", "/cns/volumes", nil, 200, &list)
	equal(t, "volumes", len(list), 0)
	createVolume(t, b, "pvc-1")
	b.ask("GET", "/cns/volumes", nil, 200, &list)
	equal(t, "volumes", len(list), 1)
	equal(t, "name and size", []any{list[0].Name, list[0].CapacityMB}, []any{"pvc-1", 64})
	equal(t, "our own calls are not counted", b.calls().UserAgents["vcsim-inner"], nil)
}

func TestFlagsAreChecked(t *testing.T) {
	for _, args := range [][]string{
		{}, {"-password-file", "p", "-cert", "c"}, {"-password-file", "p", "-datacenters", ","},
		{"-password-file", "p", "-vms", "-1"}, {"-password-file", "p", "rest"},
	} {
		if _, err := parse(flag.NewFlagSet("vcsim", flag.ContinueOnError), args); err == nil {
			t.Errorf("%q was taken", args)
		}
	}
	o, err := parse(flag.NewFlagSet("vcsim", flag.ContinueOnError), []string{"-password-file", "p", "-datacenters", "a, b/c"})
	must(t, err)
	equal(t, "datacenters", o.inventory.datacenters, []string{"a", "b/c"})
}
