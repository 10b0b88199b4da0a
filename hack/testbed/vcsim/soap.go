package main

import (
	"bytes"
	stdxml "encoding/xml"
	"io"
	"net/http"
	"reflect"
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vapi/rest"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
	"github.com/vmware/govmomi/vim25/xml"
)

const (
	restSessionPath = rest.Path + "/com/vmware/cis/session"
	apiSessionPath  = "/api/session"
	restSessionName = "vmware-api-session-id"
	ssoAdminPath    = "/sso-adminserver/"
	issueToken      = "RequestSecurityToken"
	maxBody         = 64 << 20
)

// call is one request as the front sees it: enough to count, to break and to judge it.
type call struct {
	agent, remote string
	// method is the SOAP method, or verb and path for anything else.
	method  string
	path    string
	query   string
	body    []byte
	session string
	// user is who tries to log in, as written; password only where the front itself must check it.
	user, password string
	assertion      string
	terminated     []string
}

func readCall(r *http.Request) (*call, error) {
	c := &call{agent: r.UserAgent(), remote: r.RemoteAddr, path: r.URL.Path, query: r.URL.RawQuery, method: r.Method + " " + r.URL.Path}
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxBody))
	if err != nil {
		return c, err
	}
	c.body = body
	if cookie, err := r.Cookie(soap.SessionCookieName); err == nil {
		c.session = cookie.Value
	}
	if r.Method == http.MethodPost && bytes.HasPrefix(bytes.TrimSpace(body), []byte("<")) {
		c.readEnvelope()
		return c, nil
	}
	if id := r.Header.Get(restSessionName); id != "" {
		c.session = id
	} else if cookie, err := r.Cookie(restSessionName); err == nil {
		c.session = cookie.Value
	}
	c.user, c.password, _ = r.BasicAuth()
	if token, found := strings.CutPrefix(r.Header.Get("Authorization"), "SIGN "); found {
		c.assertion = assertionOfSignedRequest(token)
	}
	return c, nil
}

// readEnvelope looks at the headers and the first element of the body, and no further than it must.
// What is not XML stays without a method name; the simulator refuses it.
func (c *call) readEnvelope() {
	decoder := stdxml.NewDecoder(bytes.NewReader(c.body))
	inBody := false
	for {
		token, err := decoder.Token()
		if err != nil {
			return
		}
		start, isStart := token.(stdxml.StartElement)
		if !isStart {
			continue
		}
		switch {
		case inBody && c.method == issueToken:
			// A token to renew stands in the body.
			c.readAssertion(start)
		case inBody:
			c.method = start.Name.Local
			if c.method != issueToken {
				c.readMethod(decoder, start)
				return
			}
		case start.Name.Local == "Body":
			inBody = true
		default:
			c.readHeader(decoder, start)
		}
	}
}

func (c *call) readMethod(decoder *stdxml.Decoder, start stdxml.StartElement) {
	var wanted struct {
		UserName  string   `xml:"userName"`
		SessionID []string `xml:"sessionId"`
	}
	if c.method != "Login" && c.method != "TerminateSession" {
		return
	}
	if decoder.DecodeElement(&wanted, &start) == nil {
		c.user, c.terminated = wanted.UserName, wanted.SessionID
	}
}

func (c *call) readHeader(decoder *stdxml.Decoder, start stdxml.StartElement) {
	switch start.Name.Local {
	case "vcSessionCookie":
		var cookie string
		if decoder.DecodeElement(&cookie, &start) == nil {
			c.session = cookie
		}
	case "UsernameToken":
		var token struct{ Username, Password string }
		if decoder.DecodeElement(&token, &start) == nil {
			c.user, c.password = token.Username, token.Password
		}
	default:
		c.readAssertion(start)
	}
}

func (c *call) readAssertion(start stdxml.StartElement) {
	if start.Name.Local != "Assertion" {
		return
	}
	for _, attr := range start.Attr {
		if attr.Name.Local == "ID" {
			c.assertion = attr.Value
		}
	}
}

func (c *call) logsIn() bool {
	switch c.method {
	case "Login", "LoginByToken", "LoginExtensionByCertificate", issueToken:
		return true
	case "POST " + restSessionPath, "POST " + apiSessionPath:
		return !strings.Contains(c.query, "action=")
	}
	return false
}

func (c *call) logsOut() bool {
	switch c.method {
	case "Logout", "DELETE " + restSessionPath, "DELETE " + apiSessionPath:
		return true
	}
	return false
}

// logsInByToken says that the call is worth exactly what its assertion is worth.
func (c *call) logsInByToken() bool {
	return c.method == "LoginByToken" || c.method == "Login" && strings.HasPrefix(c.path, ssoAdminPath)
}

const (
	envelopeStart = `<?xml version="1.0" encoding="UTF-8"?>` + "\n" +
		`<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body><soapenv:Fault>`
	envelopeEnd = `</soapenv:Fault></soapenv:Body></soapenv:Envelope>`
)

// refuseToken is the token service's way to say that user or password is wrong.
func refuseToken(w http.ResponseWriter) {
	writeFault(w, `<faultcode xmlns:ns0="http://docs.oasis-open.org/ws-sx/ws-trust/200512">ns0:FailedAuthentication</faultcode><faultstring>Invalid credentials</faultstring>`)
}

func refuseLogin(w http.ResponseWriter) {
	writeVSphereFault(w, "Cannot complete login due to an incorrect user name or password.", new(types.InvalidLogin))
}

func writeVSphereFault(w http.ResponseWriter, message string, fault types.BaseMethodFault) {
	detail := simulator.Fault(message, fault)
	var text bytes.Buffer
	text.WriteString("<faultcode>" + detail.Code + "</faultcode><faultstring>")
	_ = stdxml.EscapeText(&text, []byte(message))
	text.WriteString("</faultstring><detail>")

	kind := reflect.TypeOf(fault).Elem().Name()
	encoder := xml.NewEncoder(&text)
	start := xml.StartElement{Name: xml.Name{Local: kind + "Fault"}, Attr: []xml.Attr{
		{Name: xml.Name{Local: "xmlns"}, Value: "urn:vim25"},
		{Name: xml.Name{Local: "xsi:type"}, Value: kind},
	}}
	if err := encoder.EncodeElement(fault, start); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	text.WriteString("</detail>")
	writeFault(w, text.String())
}

func writeFault(w http.ResponseWriter, inner string) {
	w.Header().Set("Content-Type", "text/xml; charset=utf-8")
	w.WriteHeader(http.StatusInternalServerError)
	_, _ = io.WriteString(w, envelopeStart+inner+envelopeEnd)
}
