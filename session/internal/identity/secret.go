package identity

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Claims are what a token says of its holder.
type Claims struct {
	Subject   string
	Issuer    string    // empty: the token has none
	PublicKey []byte    // of signatures, in the form that MLS leaf nodes carry; nil: the token has none
	Issued    time.Time // zero: not known
	Expires   time.Time // from then on it is refused
}

// Why a token is refused. ErrExpired and ErrEarly come with its claims: everything else of the token is right.
var (
	ErrMalformed = errors.New("token is malformed")
	ErrForged    = errors.New("token is not made with this secret")
	ErrExpired   = errors.New("token has expired")
	ErrEarly     = errors.New("token is from the future: clocks differ")
)

const (
	// MinSecret is the length in bytes that a shared secret must have at least.
	MinSecret = 32

	// TokenLife is how long a token is believed.
	TokenLife = time.Hour

	tokenSkew = 5 * time.Second // that a token may come from the future

	suffixSize = 8
	nonceSize  = 12
	macSize    = 43 // of its base64 form
)

// Secret is an identity that rests on a secret which all apps share: who knows it may take any name. It makes tokens of
// the one and verifies those of others.
//
//	id ":" unix seconds ":" nonce ":" claims ":" MAC
type Secret struct {
	key    []byte
	id     string
	claims string // encoded
}

// NewSecret makes an identity of the name base, with an id of its own: base, "_" and eight random characters. base is not
// empty and has neither colons nor spaces; an app takes the text of its name. public is the public key of the signatures.
func NewSecret(base string, secret, public []byte) (*Secret, error) {
	return RestoreSecret(base+"_"+suffix(), secret, public)
}

// suffix returns random letters and digits.
func suffix() string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	s := make([]byte, 0, suffixSize)
	for len(s) < suffixSize {
		var b [1]byte
		_, _ = rand.Read(b[:]) // never fails
		if i := int(b[0] & 63); i < len(alphabet) {
			s = append(s, alphabet[i])
		}
	}
	return string(s)
}

// RestoreSecret makes an identity with the id that an earlier one had.
func RestoreSecret(id string, secret, public []byte) (*Secret, error) {
	base, _, ok := strings.Cut(id, "_")
	switch {
	case len(secret) < MinSecret:
		return nil, fmt.Errorf("shared secret has %d bytes, and must have %d or more", len(secret), MinSecret)
	case base == "" || !ok:
		return nil, fmt.Errorf("identity %q has no name", id)
	case strings.ContainsFunc(id, func(r rune) bool { return r == ':' || unicode.IsSpace(r) }):
		return nil, fmt.Errorf("identity %q has a colon or a space", id)
	}
	claims, err := json.Marshal(map[string]string{"pubkey": base64.StdEncoding.EncodeToString(public)})
	if err != nil {
		return nil, err
	}
	return &Secret{key: bytes.Clone(secret), id: id, claims: base64.RawURLEncoding.EncodeToString(claims)}, nil
}

// Subject is the id, which is what tokens name.
func (s *Secret) Subject() string { return s.id }

// Token makes a new token.
func (s *Secret) Token(now time.Time) string {
	var nonce [nonceSize]byte
	_, _ = rand.Read(nonce[:])
	b := make([]byte, 0, len(s.id)+len(s.claims)+80)
	b = append(append(b, s.id...), ':')
	b = append(strconv.AppendInt(b, now.Unix(), 10), ':')
	b = append(base64.RawURLEncoding.AppendEncode(b, nonce[:]), ':')
	b = append(b, s.claims...)
	mac := s.mac(b)
	return string(base64.RawURLEncoding.AppendEncode(append(b, ':'), mac[:]))
}

func (s *Secret) mac(b []byte) (sum [sha256.Size]byte) {
	h := hmac.New(sha256.New, s.key)
	h.Write(b)
	h.Sum(sum[:0])
	return sum
}

// Verify returns the claims of a token that was made with this secret. They come with ErrExpired and ErrEarly, too, and with no
// other error.
func (s *Secret) Verify(token string, now time.Time) (*Claims, error) {
	body, mac, ok := cutLast(token)
	if !ok || len(mac) != macSize || strings.ContainsAny(mac, "\r\n") { // which the decoder would pass over
		return nil, ErrMalformed
	}
	sum, err := base64.RawURLEncoding.Strict().DecodeString(mac)
	if err != nil {
		return nil, ErrMalformed
	}
	fields := strings.SplitN(body, ":", 5)
	if len(fields) != 4 {
		return nil, ErrMalformed
	}
	at, err := strconv.ParseUint(strings.TrimPrefix(fields[1], "+"), 10, 63)
	if err != nil || at > 1<<40 {
		return nil, ErrMalformed
	}
	if want := s.mac([]byte(body)); !hmac.Equal(want[:], sum) {
		return nil, ErrForged
	}
	c := &Claims{Subject: fields[0], Issued: time.Unix(int64(at), 0), Expires: time.Unix(int64(at), 0).Add(TokenLife)}
	if c.PublicKey, err = publicKey(fields[3]); err != nil {
		return nil, err
	}
	age := now.Unix() - int64(at) // whole seconds, as peers count
	switch {
	case age < -int64(tokenSkew/time.Second):
		return c, ErrEarly
	case age > int64(TokenLife/time.Second):
		return c, ErrExpired
	}
	return c, nil
}

func cutLast(token string) (before, after string, ok bool) {
	i := strings.LastIndexByte(token, ':')
	if i < 0 {
		return "", "", false
	}
	return token[:i], token[i+1:], true
}

// publicKey reads the claims of a shared secret's token.
func publicKey(claims string) ([]byte, error) {
	if claims == "" {
		return nil, nil
	}
	text, err := base64.RawURLEncoding.DecodeString(claims)
	if err != nil {
		return nil, ErrMalformed
	}
	var c struct {
		Key string `json:"pubkey"`
	}
	if err := json.Unmarshal(text, &c); err != nil {
		return nil, ErrMalformed
	}
	key, err := base64.StdEncoding.DecodeString(c.Key)
	if err != nil {
		return nil, ErrMalformed
	}
	if len(key) == 0 {
		return nil, nil
	}
	return key, nil
}
