package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// admin is the port that tests read and steer the vCenter by. Everything is JSON.
type admin struct {
	front *front
	gate  *gate
}

func newAdmin(f *front, g *gate) http.Handler {
	a := &admin{front: f, gate: g}
	mux := http.NewServeMux()
	route := func(pattern string, answer func(*http.Request) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			body, err := answer(r)
			writeJSON(w, body, err)
		})
	}
	route("GET /healthz", func(*http.Request) (any, error) { return map[string]string{"status": "ok"}, nil })

	route("GET /calls", func(*http.Request) (any, error) { return f.counters.view(len(f.sessions.list())), nil })
	route("POST /calls/reset", func(*http.Request) (any, error) { f.counters.reset(); return done() })
	route("GET /logins", func(*http.Request) (any, error) { return f.counters.attempts(), nil })

	route("GET /sessions", func(*http.Request) (any, error) { return f.sessions.list(), nil })
	route("DELETE /sessions", a.endSessions)

	route("GET /connections", func(*http.Request) (any, error) { return g.list(), nil })
	route("POST /connections/reset", func(*http.Request) (any, error) { g.forget(); return done() })

	route("GET /users", func(*http.Request) (any, error) { return f.users.names(), nil })
	route("PUT /users", a.setUsers)
	route("GET /version", func(*http.Request) (any, error) { return f.vc.about(), nil })
	route("PUT /version", a.setVersion)
	route("GET /certificate", func(*http.Request) (any, error) { return f.identity.describe(), nil })
	route("PUT /certificate", a.setCertificate)
	route("GET /privileges", func(*http.Request) (any, error) { return f.vc.privileges.rows(), nil })
	route("PUT /privileges", a.setPrivileges)
	route("GET /faults", func(*http.Request) (any, error) { return f.faults.list(), nil })
	route("PUT /faults", a.setFaults)

	route("GET /inventory", func(*http.Request) (any, error) { return f.vc.inventory.list(), nil })
	route("POST /vms", a.addMachine)
	route("DELETE /vms/{name}", a.dropMachine)
	route("GET /cns/volumes", func(r *http.Request) (any, error) { return f.vc.volumes(r.Context()) })
	return mux
}

func done() (any, error) { return map[string]string{"status": "done"}, nil }

// badInput is what the caller can mend.
type badInput struct{ error }

func writeJSON(w http.ResponseWriter, body any, err error) {
	status := http.StatusOK
	var bad badInput
	switch {
	case errors.Is(err, errNoMachine):
		status = http.StatusNotFound
	case errors.Is(err, errMachineExists):
		status = http.StatusConflict
	case errors.As(err, &bad):
		status = http.StatusBadRequest
	case err != nil:
		status = http.StatusInternalServerError
	}
	if err != nil {
		body = map[string]string{"error": err.Error()}
	}
	text, err := json.MarshalIndent(body, "", "  ")
	if err != nil {
		status, text = http.StatusInternalServerError, []byte(`{"error": "not JSON"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n'))
}

// read takes exactly one JSON value with no field that it does not know.
func read(r *http.Request, into any) error {
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return badInput{err}
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return badInput{errors.New("more than one JSON value")}
	}
	return nil
}

func (a *admin) endSessions(r *http.Request) (any, error) {
	ended, err := a.front.endSessions(r.Context())
	return map[string]int{"ended": ended}, err
}

func (a *admin) setUsers(r *http.Request) (any, error) {
	var table map[string]string
	if err := read(r, &table); err != nil {
		return nil, err
	}
	if err := a.front.users.replace(table); err != nil {
		return nil, badInput{err}
	}
	return a.front.users.names(), nil
}

func (a *admin) setVersion(r *http.Request) (any, error) {
	var v version
	if err := read(r, &v); err != nil {
		return nil, err
	}
	if v.Version == "" {
		return nil, badInput{errors.New("version is missing")}
	}
	a.front.vc.setVersion(v)
	return a.front.vc.about(), nil
}

// setCertificate takes a chain and key, or makes a certificate for names that expires when asked to.
func (a *admin) setCertificate(r *http.Request) (any, error) {
	var wanted struct {
		Cert     string   `json:"cert"`
		Key      string   `json:"key"`
		SelfMade []string `json:"selfMade"`
		Validity string   `json:"validity"`
	}
	if err := read(r, &wanted); err != nil {
		return nil, err
	}
	chain, key := []byte(wanted.Cert), []byte(wanted.Key)
	if len(wanted.SelfMade) > 0 {
		validity := 365 * 24 * time.Hour
		if wanted.Validity != "" {
			var err error
			if validity, err = time.ParseDuration(wanted.Validity); err != nil {
				return nil, badInput{err}
			}
		}
		until := time.Now().Add(validity) // a negative validity makes an expired one
		from := until.Add(-10 * 365 * 24 * time.Hour)
		var err error
		if chain, key, err = selfMade(wanted.SelfMade, from, until); err != nil {
			return nil, badInput{err}
		}
	}
	if err := a.front.identity.replace(chain, key); err != nil {
		return nil, badInput{err}
	}
	a.gate.retire()
	return a.front.identity.describe(), nil
}

func (a *admin) setPrivileges(r *http.Request) (any, error) {
	var table map[string]map[string]bool
	if err := read(r, &table); err != nil {
		return nil, err
	}
	a.front.vc.privileges.replace(table)
	return a.front.vc.privileges.rows(), nil
}

func (a *admin) setFaults(r *http.Request) (any, error) {
	var rules []rule
	if err := read(r, &rules); err != nil {
		return nil, err
	}
	if err := a.front.faults.replace(rules); err != nil {
		return nil, badInput{err}
	}
	if err := a.gate.refuse(a.front.faults.refusal()); err != nil {
		return nil, fmt.Errorf("cannot listen again: %w", err)
	}
	return a.front.faults.list(), nil
}

func (a *admin) addMachine(r *http.Request) (any, error) {
	var m machine
	if err := read(r, &m); err != nil {
		return nil, err
	}
	made, err := a.front.vc.inventory.add(r.Context(), m)
	if err != nil && !errors.Is(err, errMachineExists) {
		err = badInput{err}
	}
	return made, err
}

func (a *admin) dropMachine(r *http.Request) (any, error) {
	if err := a.front.vc.inventory.drop(r.Context(), strings.TrimSpace(r.PathValue("name"))); err != nil {
		return nil, err
	}
	return done()
}
