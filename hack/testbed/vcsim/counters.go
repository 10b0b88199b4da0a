package main

import (
	"sync"
	"time"
)

// keptLogins bounds the list of login attempts; the counts have no bound.
const keptLogins = 1000

// counters counts calls where they arrive, whatever becomes of them.
type counters struct {
	mu     sync.Mutex
	total  tally
	agents map[string]*tally
	recent []attempt
}

type tally struct {
	Total         int            `json:"total"`
	Calls         map[string]int `json:"calls"`
	Logins        logins         `json:"logins"`
	Logouts       int            `json:"logouts"`
	Broken        int            `json:"broken"`
	BytesReceived int64          `json:"bytesReceived"`
	BytesSent     int64          `json:"bytesSent"`
}

// logins counts attempts by how they ended. Broken is one that a fault rule took the answer from.
type logins struct {
	OK      int `json:"ok"`
	Refused int `json:"refused"`
	Broken  int `json:"broken"`
}

type attempt struct {
	Time      time.Time `json:"time"`
	Method    string    `json:"method"`
	User      string    `json:"user"`
	UserAgent string    `json:"userAgent"`
	Remote    string    `json:"remote"`
	Outcome   outcome   `json:"outcome"`
}

type outcome string

const (
	outcomeOK      outcome = "ok"
	outcomeRefused outcome = "refused"
	outcomeBroken  outcome = "broken"
)

type countersView struct {
	tally
	SessionsAlive int               `json:"sessionsAlive"`
	UserAgents    map[string]*tally `json:"userAgents"`
}

func newCounters() *counters {
	c := new(counters)
	c.reset()
	return c
}

func (c *counters) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.total = tally{Calls: map[string]int{}}
	c.agents = map[string]*tally{}
	c.recent = nil
}

func (c *counters) both(agent string) [2]*tally {
	t, found := c.agents[agent]
	if !found {
		t = &tally{Calls: map[string]int{}}
		c.agents[agent] = t
	}
	return [2]*tally{&c.total, t}
}

// arrived is called before anything is done about the call.
func (c *counters) arrived(call *call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range c.both(call.agent) {
		t.Total++
		t.Calls[call.method]++
		t.BytesReceived += int64(len(call.body))
	}
}

func (c *counters) answered(call *call, result outcome, sent int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range c.both(call.agent) {
		t.BytesSent += int64(sent)
		if result == outcomeBroken {
			t.Broken++
		}
		if call.logsOut() && result == outcomeOK {
			t.Logouts++
		}
		if call.logsIn() {
			switch result {
			case outcomeOK:
				t.Logins.OK++
			case outcomeRefused:
				t.Logins.Refused++
			case outcomeBroken:
				t.Logins.Broken++
			}
		}
	}
	if call.logsIn() {
		c.recent = append(c.recent, attempt{
			Time: time.Now().UTC(), Method: call.method, User: call.user, UserAgent: call.agent, Remote: call.remote, Outcome: result,
		})
		if len(c.recent) > keptLogins {
			c.recent = c.recent[1:]
		}
	}
}

func (c *counters) view(alive int) countersView {
	c.mu.Lock()
	defer c.mu.Unlock()
	v := countersView{tally: c.total.clone(), SessionsAlive: alive, UserAgents: map[string]*tally{}}
	for agent, t := range c.agents {
		copied := t.clone()
		v.UserAgents[agent] = &copied
	}
	return v
}

func (t tally) clone() tally {
	calls := make(map[string]int, len(t.Calls))
	for method, n := range t.Calls {
		calls[method] = n
	}
	t.Calls = calls
	return t
}

func (c *counters) attempts() []attempt {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]attempt{}, c.recent...)
}
