package main

import (
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"encoding/base64"
	"encoding/xml"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
)

// The simulator's token service gives everybody one and the same token, and its logins take any token.
// So the front checks the request, gives each token an ID and its user's name, and lets in only tokens
// that it gave out.
const simulatorSubject = "Administrator@VSPHERE.LOCAL"

var assertionID = regexp.MustCompile(`(<saml2:Assertion [^>]*\bID=")[^"]*(")`)

type tokens struct {
	mu     sync.Mutex
	issued map[string]string // ID to user
}

func newTokens() *tokens { return &tokens{issued: map[string]string{}} }

func (t *tokens) user(id string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.issued[id]
}

// issue turns the simulator's answer into a token for user.
func (t *tokens) issue(user string, answer []byte) []byte {
	id := "_" + rand.Text()
	t.mu.Lock()
	t.issued[id] = user
	t.mu.Unlock()
	var subject bytes.Buffer
	_ = xml.EscapeText(&subject, []byte(user))
	answer = assertionID.ReplaceAll(answer, []byte("${1}"+id+"${2}"))
	return bytes.Replace(answer, []byte(simulatorSubject), subject.Bytes(), 1)
}

// serveToken is the token service: a user name and password, or a token of ours, is what it takes.
func (f *front) serveToken(w *reply, r *http.Request, c *call) {
	user := f.tokens.user(c.assertion)
	if user == "" && c.user != "" && f.users.accepts(c.user, c.password) {
		user = f.users.canonical(c.user)
	}
	if user == "" {
		refuseToken(w)
		return
	}
	f.simulator.ServeHTTP(w, r)
	if w.status == http.StatusOK {
		w.replaceBody(f.tokens.issue(user, w.body.Bytes()))
	}
}

// assertionOfSignedRequest finds the assertion in an Authorization header of the REST services:
// SIGN token="gzip and base64", and a signature that nobody here checks.
func assertionOfSignedRequest(params string) string {
	_, rest, found := strings.Cut(params, `token="`)
	if !found {
		return ""
	}
	encoded, _, _ := strings.Cut(rest, `"`)
	packed, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return ""
	}
	reader, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return ""
	}
	text, err := io.ReadAll(io.LimitReader(reader, maxBody))
	if err != nil {
		return ""
	}
	var assertion struct {
		ID string `xml:"ID,attr"`
	}
	if xml.Unmarshal(text, &assertion) != nil {
		return ""
	}
	return assertion.ID
}
