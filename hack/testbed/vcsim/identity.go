package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"time"
)

// identity is the certificate that the vCenter shows. Each change makes a new generation, and connections
// of an older one are closed as soon as they are idle.
type identity struct {
	current    atomic.Pointer[tls.Certificate]
	generation atomic.Int64
}

type identityFacts struct {
	Cert     string    `json:"cert"`
	SHA1     string    `json:"sha1"`
	SHA256   string    `json:"sha256"`
	Subject  string    `json:"subject"`
	NotAfter time.Time `json:"notAfter"`
}

func loadIdentity(o options, addr net.Addr) (*identity, error) {
	if o.cert == "" {
		names := append(splitList(o.sans), hostOf(o.advertise), hostOf(addr.String()), "localhost", "127.0.0.1", "::1")
		chain, key, err := selfMade(names, time.Now().Add(-time.Hour), time.Now().AddDate(1, 0, 0))
		if err != nil {
			return nil, err
		}
		return newIdentity(chain, key)
	}
	chain, err := os.ReadFile(o.cert)
	if err != nil {
		return nil, err
	}
	key, err := os.ReadFile(o.key)
	if err != nil {
		return nil, err
	}
	return newIdentity(chain, key)
}

func newIdentity(chain, key []byte) (*identity, error) {
	i := new(identity)
	return i, i.replace(chain, key)
}

func (i *identity) replace(chain, key []byte) error {
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return err
	}
	i.current.Store(&pair)
	i.generation.Add(1)
	return nil
}

func (i *identity) config() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"http/1.1"},
		ClientAuth: tls.RequestClientCert,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return i.current.Load(), nil
		},
	}
}

func (i *identity) describe() identityFacts {
	pair := i.current.Load()
	var chain strings.Builder
	for _, der := range pair.Certificate {
		_ = pem.Encode(&chain, &pem.Block{Type: "CERTIFICATE", Bytes: der})
	}
	one, two := sha1.Sum(pair.Certificate[0]), sha256.Sum256(pair.Certificate[0])
	return identityFacts{
		Cert: chain.String(), SHA1: thumbprint(one[:]), SHA256: thumbprint(two[:]),
		Subject: pair.Leaf.Subject.String(), NotAfter: pair.Leaf.NotAfter,
	}
}

// thumbprint writes a digest as vSphere does: AA:BB:CC.
func thumbprint(digest []byte) string {
	pairs := make([]string, len(digest))
	for i, b := range digest {
		pairs[i] = strings.ToUpper(hex.EncodeToString([]byte{b}))
	}
	return strings.Join(pairs, ":")
}

// selfMade makes a certificate that signs for itself and for nobody else.
func selfMade(names []string, from, until time.Time) (chain, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "simulated vCenter"},
		NotBefore:    from,
		NotAfter:     until,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else if name != "" {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	if len(template.IPAddresses)+len(template.DNSNames) == 0 {
		return nil, nil, errors.New("a certificate needs a name")
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		return nil, nil, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), nil
}

func hostOf(address string) string {
	if host, _, err := net.SplitHostPort(address); err == nil {
		return host
	}
	return address
}
