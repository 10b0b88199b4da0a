package main

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"sync"

	"github.com/vmware/govmomi/vim25/types"
)

type action string

const (
	// Before a call is known: these look at no method and no user agent.
	actionRefuseConnection action = "refuse-connection" // the listening socket is closed until the rule is gone
	actionResetConnection  action = "reset-connection"  // accepted and reset
	actionHangConnection   action = "hang-connection"   // accepted, then silence

	actionDelay     action = "delay"      // wait, then answer
	actionReset     action = "reset"      // reset without doing anything
	actionDropReply action = "drop-reply" // do it, then reset without an answer
	actionCut       action = "cut"        // do it, answer half
	actionStatus    action = "status"     // an HTTP status, headers and body instead of an answer
	actionFault     action = "fault"      // a SOAP fault instead of an answer
)

var (
	connectionActions = []action{actionRefuseConnection, actionResetConnection, actionHangConnection}
	callActions       = []action{actionDelay, actionReset, actionDropReply, actionCut, actionStatus, actionFault}
)

// rule breaks calls. Times 0 means every one; Skip lets that many pass first. The first rule that matches
// and is not used up decides.
type rule struct {
	Action    action            `json:"action"`
	Method    string            `json:"method,omitempty"`
	UserAgent string            `json:"userAgent,omitempty"`
	Times     int               `json:"times,omitempty"`
	Skip      int               `json:"skip,omitempty"`
	Ms        int               `json:"ms,omitempty"`
	Status    int               `json:"status,omitempty"`
	Headers   map[string]string `json:"headers,omitempty"`
	Body      string            `json:"body,omitempty"`
	Fault     string            `json:"fault,omitempty"`
	Message   string            `json:"message,omitempty"`
	Hits      int               `json:"hits"`

	method, agent *regexp.Regexp
	seen          int
}

type refusal int

const (
	accepting refusal = iota
	refusing
)

type faults struct {
	mu    sync.Mutex
	rules []*rule
}

func (f *faults) replace(rules []rule) error {
	next := make([]*rule, 0, len(rules))
	for i := range rules {
		r := rules[i]
		if err := r.compile(); err != nil {
			return fmt.Errorf("rule %d: %w", i, err)
		}
		next = append(next, &r)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = next
	return nil
}

func (r *rule) compile() (err error) {
	r.Hits, r.seen = 0, 0
	if r.method, err = regexp.Compile(r.Method); err != nil {
		return err
	}
	if r.agent, err = regexp.Compile(r.UserAgent); err != nil {
		return err
	}
	switch {
	case r.onConnection():
		if r.Method != "" || r.UserAgent != "" {
			return fmt.Errorf("%s is decided before a call is known: no method, no userAgent", r.Action)
		}
	case r.Action == actionDelay && r.Ms <= 0:
		return errors.New("delay wants ms")
	case r.Action == actionStatus && (r.Status < 200 || r.Status > 599):
		return errors.New("status wants a status from 200 to 599")
	case r.Action == actionFault:
		_, err = newFault(r.Fault)
		return err
	case !isOneOf(r.Action, callActions):
		return fmt.Errorf("no action %q", r.Action)
	}
	return nil
}

func (r *rule) onConnection() bool { return isOneOf(r.Action, connectionActions) }

func isOneOf(a action, list []action) bool {
	for _, known := range list {
		if a == known {
			return true
		}
	}
	return false
}

// take counts a match and says whether the rule acts on it. It runs under the lock.
func (r *rule) take() bool {
	if r.Times > 0 && r.Hits >= r.Times {
		return false
	}
	if r.seen++; r.seen <= r.Skip {
		return false
	}
	r.Hits++
	return true
}

// onCall returns a copy of the rule for this call, or nil.
func (f *faults) onCall(method, agent string) *rule {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.rules {
		if !r.onConnection() && r.method.MatchString(method) && r.agent.MatchString(agent) && r.take() {
			copied := *r
			return &copied
		}
	}
	return nil
}

// onConnect answers for a connection that was just accepted.
func (f *faults) onConnect() action {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.rules {
		if r.onConnection() && r.Action != actionRefuseConnection && r.take() {
			return r.Action
		}
	}
	return ""
}

func (f *faults) refusal() refusal {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.rules {
		if r.Action == actionRefuseConnection {
			return refusing
		}
	}
	return accepting
}

func (f *faults) list() []rule {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := make([]rule, 0, len(f.rules))
	for _, r := range f.rules {
		list = append(list, *r)
	}
	return list
}

// newFault makes an empty vSphere fault of the type named.
func newFault(name string) (types.BaseMethodFault, error) {
	kind, found := types.TypeFunc()(name)
	if found {
		if fault, isFault := reflect.New(kind).Interface().(types.BaseMethodFault); isFault {
			return fault, nil
		}
	}
	return nil, fmt.Errorf("no vSphere fault %q", name)
}
