package main

import (
	"slices"
	"strings"
	"sync"
	"time"
)

type sessionKind string

const (
	soapSession sessionKind = "soap"
	restSession sessionKind = "rest"
)

// session is one that the vCenter gave to a client and that neither side has ended.
type session struct {
	Key       string      `json:"key"`
	Kind      sessionKind `json:"kind"`
	User      string      `json:"user"`
	UserAgent string      `json:"userAgent"`
	Remote    string      `json:"remote"`
	Since     time.Time   `json:"since"`
	LastUsed  time.Time   `json:"lastUsed"`
	Calls     int         `json:"calls"`
}

type sessions struct {
	mu    sync.Mutex
	alive map[string]*session
}

func newSessions() *sessions { return &sessions{alive: map[string]*session{}} }

func (s *sessions) opened(key string, kind sessionKind, user string, c *call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now().UTC()
	s.alive[key] = &session{Key: key, Kind: kind, User: user, UserAgent: c.agent, Remote: c.remote, Since: now, LastUsed: now}
}

func (s *sessions) used(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if found := s.alive[key]; found != nil {
		found.LastUsed = time.Now().UTC()
		found.Calls++
	}
}

func (s *sessions) ended(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.alive, key)
}

func (s *sessions) user(key string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if found := s.alive[key]; found != nil {
		return found.User
	}
	return ""
}

func (s *sessions) list() []session {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]session, 0, len(s.alive))
	for _, one := range s.alive {
		list = append(list, *one)
	}
	slices.SortFunc(list, func(a, b session) int {
		if c := a.Since.Compare(b.Since); c != 0 {
			return c
		}
		return strings.Compare(a.Key, b.Key)
	})
	return list
}
