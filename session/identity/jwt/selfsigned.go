package jwt

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	tokens "github.com/seed31b3bfd0/slimgo/internal/auth/jwt"
	"github.com/seed31b3bfd0/slimgo/internal/watch"
	"github.com/seed31b3bfd0/slimgo/session"
)

// SelfSignedOptions are those of upstream's `auth: {type: jwt, private_key, trusted_keys}`.
type SelfSignedOptions struct {
	// PrivateKey is an Ed25519 key as PKCS #8 in PEM, as `openssl genpkey -algorithm ed25519` makes one. The app's subject is its did:key.
	PrivateKey Text
	// TrustedKeys is a JWKS of all whose tokens are believed, each with `"kty":"OKP","crv":"Ed25519","alg":"EdDSA"` and its `x`. The app's own
	// key is one of them.
	TrustedKeys Text
	// Binding says what is done about a token whose subject is neither the did:key nor the kid of the key that has signed it: BindOff,
	// BindWarn or BindEnforce; "": BindEnforce. Upstream's apps, which only warn unless they are told otherwise, make no such tokens (P-id-6).
	Binding string
	// Logger is told when files change, and of what is wrong with them; nil: nobody is.
	Logger *slog.Logger

	settle time.Duration // of what watches files, by tests
}

// SelfSigned is an app's identity that rests on an Ed25519 key of its own, and on a list of keys that it trusts. It is a
// session.TokenSource and a session.ChangingVerifier (P-id-1).
type SelfSigned struct {
	did      string
	public   ed25519.PublicKey
	o        SelfSignedOptions
	log      *slog.Logger
	source   *Source
	verifier *Verifier
	end      context.CancelFunc
	watching sync.WaitGroup

	mu    sync.Mutex
	fault error // guarded by mu: of the private key's file
	own   error // guarded by mu: of the app's own key in the list
}

var (
	_ session.TokenSource      = (*SelfSigned)(nil)
	_ session.ChangingVerifier = (*SelfSigned)(nil)
)

// maxFile is how many bytes of a file are read.
const maxFile = 1 << 20

// read returns a text.
func (t Text) read() ([]byte, error) {
	if t.file == "" {
		return []byte(t.data), nil
	}
	return watch.Read(t.file, maxFile)
}

// wrong is err, of a text that is called what.
func (t Text) wrong(what string, err error) error {
	if t.file == "" {
		return fmt.Errorf("%s: %w", what, err)
	}
	return fmt.Errorf("%s %s: %w", what, t.file, err)
}

const (
	privateKeyText  = "private key"
	trustedKeysText = "trusted keys"
)

// NewSelfSigned reads key and list. Close it after the app. An error is a session.ErrConfig: that the key is none of Ed25519, that the list
// cannot be read, or that the app's own key is not in it, or not so that it verifies anything.
func NewSelfSigned(o SelfSignedOptions) (*SelfSigned, error) {
	if err := errors.Join(o.PrivateKey.check(privateKeyText), o.TrustedKeys.check(trustedKeysText)); err != nil {
		return nil, err
	}
	key, err := o.readKey()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", session.ErrConfig, err)
	}
	s := &SelfSigned{o: o, public: key.Public().(ed25519.PublicKey), log: o.Logger}
	s.did = tokens.DIDKey(s.public)
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if err := s.listed(); err != nil {
		return nil, fmt.Errorf("%w: %w", session.ErrConfig, err)
	}
	if err := s.open(key); err != nil {
		return nil, err
	}
	return s, nil
}

func (o *SelfSignedOptions) readKey() (ed25519.PrivateKey, error) {
	b, err := o.PrivateKey.read()
	if err != nil {
		return nil, o.PrivateKey.wrong(privateKeyText, err)
	}
	key, err := tokens.Ed25519Key(b)
	if err != nil {
		return nil, o.PrivateKey.wrong(privateKeyText, err)
	}
	return key, nil
}

// open makes source and verifier, and begins to watch.
func (s *SelfSigned) open(key ed25519.PrivateKey) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", session.ErrConfig, privateKeyText, err)
	}
	// The key is handed over as a text: a file that holds another one later must not sign for this subject.
	text := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	s.source, err = NewSource(SourceOptions{Key: Key{Algorithm: "EdDSA", Format: PEM, Data: text}, Subject: s.did, Issuer: s.did})
	if err != nil {
		return err
	}
	binding := s.o.Binding
	if binding == "" {
		binding = BindEnforce
	}
	w := watching(s.o.Logger)
	w.Settle = s.o.settle
	tell := w.Told
	w.Told = func(n tokens.Notice) {
		if tell != nil {
			tell(n)
		}
		if n.Changed {
			s.relisted()
		}
	}
	v, err := tokens.NewVerifier(tokens.VerifierOptions{Binding: binding, Watch: w,
		Key: tokens.Key{Algorithm: "EdDSA", Format: JWKS, Data: s.o.TrustedKeys.data, File: s.o.TrustedKeys.file}})
	if err != nil {
		_ = s.source.Close()
		return fmt.Errorf("%w: %s: %w", session.ErrConfig, trustedKeysText, err)
	}
	s.verifier = &Verifier{v}
	ctx, end := context.WithCancel(context.Background())
	s.end = end
	if file := s.o.PrivateKey.file; file != "" {
		watcher := watch.Watcher{Files: func() []string { return []string{file} }, Look: s.look, Settle: s.o.settle}
		s.watching.Go(func() { watcher.Run(ctx, nil) })
	}
	return nil
}

// look looks whether the private key's file still holds the key that is in use.
func (s *SelfSigned) look(_, strict bool) (fault bool) {
	key, err := s.o.readKey()
	if err != nil && !strict { // somebody may be in the middle of writing
		return true
	}
	if err == nil {
		if did := tokens.DIDKey(key.Public().(ed25519.PublicKey)); did != s.did {
			err = s.o.PrivateKey.wrong(privateKeyText, fmt.Errorf("holds the key of another identity now, %s: this app stays %s until it is started again",
				did, s.did))
		}
	}
	s.mu.Lock()
	before := s.fault
	s.fault = err
	s.mu.Unlock()
	switch {
	case err != nil && (before == nil || before.Error() != err.Error()):
		s.log.Error("private key not taken", "error", err)
	case err == nil && before != nil:
		s.log.Info("the file of the private key holds the key in use again", "subject", s.did)
	}
	return err != nil
}

// relisted looks for the app's own key in a list that has changed. Others are gone from it whatever is found.
func (s *SelfSigned) relisted() {
	err := s.listed()
	s.mu.Lock()
	s.own = err
	s.mu.Unlock()
	if err != nil {
		s.log.Error("the list is used, but this app cannot take part in new sessions with it", "error", err)
	}
}

// listed returns why the list is of no use to this app (P-id-5).
func (s *SelfSigned) listed() error {
	b, err := s.o.TrustedKeys.read()
	if err == nil {
		err = ownKey(b, s.public)
	}
	if err != nil {
		return s.o.TrustedKeys.wrong(trustedKeysText, err)
	}
	return nil
}

// ownKey returns why a JWKS does not verify what a key signs.
func ownKey(list []byte, public ed25519.PublicKey) error {
	var doc struct {
		Keys []struct {
			Kty, Crv, X, Alg, Use string
		}
	}
	if err := json.Unmarshal(list, &doc); err != nil || doc.Keys == nil {
		return errors.New(`is no JWKS: a JSON object with a list "keys" (RFC 7517 section 5)`)
	}
	x := base64.RawURLEncoding.EncodeToString(public)
	jwk := fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","alg":"EdDSA","x":%q}`, x)
	found := false
	for _, k := range doc.Keys {
		if k.X != x {
			continue
		}
		if k.Kty == "OKP" && k.Crv == "Ed25519" && k.Alg == "EdDSA" && (k.Use == "" || k.Use == "sig") {
			return nil
		}
		found = true
	}
	if found {
		return fmt.Errorf("has the key of %s, which is this app's own, but verifies nothing with it: write it as %s", tokens.DIDKey(public), jwk)
	}
	return fmt.Errorf("does not have the key of %s, which is this app's own: encrypted sessions verify that, too; add %s", tokens.DIDKey(public), jwk)
}

// Subject returns the did:key of the app, which its tokens name: "did:key:z6Mk…".
func (s *SelfSigned) Subject() string { return s.did }

// Token implements session.TokenSource.
func (s *SelfSigned) Token(ctx context.Context, publicKey []byte) (string, error) {
	return s.source.Token(ctx, publicKey)
}

// Verify implements session.Verifier.
func (s *SelfSigned) Verify(ctx context.Context, token string) (session.Claims, error) {
	return s.verifier.Verify(ctx, token)
}

// Changed implements session.ChangingVerifier.
func (s *SelfSigned) Changed() <-chan struct{} { return s.verifier.Changed() }

// SelfSignedStats are counts since a SelfSigned was made, and what is wrong with its files now.
type SelfSignedStats struct {
	Stats            // of the list
	PrivateKey error // why the file's key is not the one in use; nil: it is
	Own        error // why the list is of no use to the app itself; nil: it is
}

// Stats returns counts of now.
func (s *SelfSigned) Stats() SelfSignedStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return SelfSignedStats{Stats: s.verifier.Stats(), PrivateKey: s.fault, Own: s.own}
}

// Close ends the watching of files. No token is believed after it.
func (s *SelfSigned) Close() error {
	s.end()
	s.watching.Wait()
	return errors.Join(s.source.Close(), s.verifier.Close())
}
