package agent

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// minSecret is the shortest secret that is taken, in bytes, as upstream.
const minSecret = 32

// SharedSecret makes the tokens by which a node shows that it is of its domain (P-ctl-3). Safe for all.
type SharedSecret struct {
	id     string
	secret []byte
	now    func() time.Time
}

// NewSharedSecret returns the tokens of a node: their subject is DOMAIN/NODE_ID and a random suffix.
func NewSharedSecret(domain, nodeID, secret string, now func() time.Time) (*SharedSecret, error) {
	id := domain + "/" + nodeID
	switch {
	case len(secret) < minSecret:
		return nil, fmt.Errorf("hmac key is too short: it has %d bytes, and %d are needed", len(secret), minSecret)
	case strings.ContainsAny(id, ": \t\r\n"):
		return nil, errors.New("domain_name and node_id must have no colon and no white space with a shared secret")
	}
	return &SharedSecret{id: id + "_" + rand.Text()[:8], secret: []byte(secret), now: now}, nil
}

// Format implements fmt.Formatter: it shows nothing.
func (*SharedSecret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("(secret)")) }

// Token returns a token for now: id, Unix seconds, nonce, claims, of which there are none, and HMAC-SHA-256 of all that.
func (s *SharedSecret) Token() string {
	var nonce [12]byte
	_, _ = rand.Read(nonce[:]) // never fails (crypto/rand)
	raw := base64.RawURLEncoding
	text := s.id + ":" + strconv.FormatInt(s.now().Unix(), 10) + ":" + raw.EncodeToString(nonce[:]) + ":"
	return text + ":" + s.mac(text)
}

func (s *SharedSecret) mac(text string) string {
	m := hmac.New(sha256.New, s.secret)
	m.Write([]byte(text))
	return base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}
