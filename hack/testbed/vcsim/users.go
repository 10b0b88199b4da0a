package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"sort"
	"strings"
	"sync"
)

// users says who may log in. It is asked by every way of logging in: SOAP, REST and the token service.
type users struct {
	domain string
	// The simulator's own calls to itself log in with this pair, which exists in no other place.
	inner, innerPassword string

	mu    sync.Mutex
	table map[string]string
}

func newUsers(domain string) *users {
	return &users{
		domain:        strings.ToLower(domain),
		inner:         "vcsim-inner-" + rand.Text(),
		innerPassword: rand.Text(),
		table:         map[string]string{},
	}
}

// canonical brings DOMAIN\user, user@Domain and user to one form, as vCenter does: case does not count.
func (u *users) canonical(name string) string {
	name = strings.ToLower(name)
	if domain, user, found := strings.Cut(name, `\`); found {
		return user + "@" + domain
	}
	if !strings.Contains(name, "@") {
		return name + "@" + u.domain
	}
	return name
}

func (u *users) accepts(name, password string) bool {
	if name == u.inner {
		return password == u.innerPassword
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	want, known := u.table[u.canonical(name)]
	return known && password == want
}

func (u *users) replace(table map[string]string) error {
	next := make(map[string]string, len(table))
	for name, password := range table {
		if name == "" || password == "" {
			return errors.New("a user has an empty name or password")
		}
		key := u.canonical(name)
		if _, twice := next[key]; twice {
			return fmt.Errorf("user %s is named twice", key)
		}
		next[key] = password
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.table = next
	return nil
}

func (u *users) names() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	names := make([]string, 0, len(u.table))
	for name := range u.table {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}
