package auth

import (
	"context"
	"crypto/x509"
	"net/http"
	"time"
)

// Source makes what a client shows with a request. Safe for all.
type Source interface {
	// Authorization returns the value of the header of that name for a connection that is opened now; "" for none. It may
	// ask others, within the time of ctx. What it returns is secret.
	Authorization(ctx context.Context) (string, error)
	// Close ends what renews it in the background. Authorization fails after it.
	Close() error
}

// Shown is what a request has brought.
type Shown struct {
	// Authorization is the value of that header, as it came; of a WebSocket without it, "Bearer " and the parameter token
	// of the query, where the mechanism takes that. It has at most MaxAuthorization bytes.
	Authorization string
	// Certificates are the chain that the peer has proven in the TLS handshake, its own first; nil: none.
	Certificates []*x509.Certificate
	// Remote is the address from which it came, IP:PORT; else it came another way.
	Remote string
}

// MaxAuthorization bounds the bytes of what a client shows. Requests with more are refused unread.
const MaxAuthorization = 16 << 10

// Verifier judges what clients show. Safe for all.
type Verifier interface {
	// Verify returns who has shown this, or an error that is a *Denied. Any other error denies, too: it is a defect of ours,
	// or of who was asked. It is called beside the loops, and may ask others, within the time of ctx.
	Verify(ctx context.Context, s *Shown) (*Identity, error)
	// Again judges by the keys and policies of now what Verify has let in, of this Verifier or of another, in whose place it
	// has come: then Mechanism or Proof may not be its own. That it has expired since is no reason to deny. An error that is
	// no *Denied, or one of status 503, says that it is not known now: the connection lives on, and is judged again soon.
	Again(ctx context.Context, who *Identity) error
	// Changed returns a channel that is closed when Again may answer otherwise than before; ask for the next one then. nil: it
	// never does.
	Changed() <-chan struct{}
	// QueryToken reports whether the parameter token of a WebSocket's query counts (P-auth-2).
	QueryToken() bool
	// Close ends what it does in the background. Verify denies after it.
	Close() error
}

// Mechanisms by which an Identity was proven.
const (
	Basic  = "basic"
	JWT    = "jwt"
	OIDC   = "oidc"
	SPIRE  = "spire"
	MTLS   = "mtls" // a client certificate, where the listener demands nothing else
	Secret = "shared_secret"
)

// Identity is who a connection is. Immutable.
type Identity struct {
	// Mechanism is one of those above.
	Mechanism string
	// Subject is the user, the claim sub, the SPIFFE ID, or the subject of the certificate. May be empty for JWT.
	Subject string
	// Issuer is the claim iss, or that of the certificate; may be empty.
	Issuer string
	// Claims are all of the token's, as encoding/json has them with UseNumber; nil: there is no token. They are read only.
	Claims map[string]any
	// Expires is when the token does, zero: never. A connection lives on after it.
	Expires time.Time
	// Proof is what the Verifier needs to judge Again, such as the token. It is secret.
	Proof any
}

// Denied is why a request is refused. Reason is for the audit log only: the peer is told Status.
type Denied struct {
	// Status is 401 where it is not known who asks, 403 where that is known and not enough, 503 where it cannot be known now.
	Status int
	// Challenge is the value of the header WWW-Authenticate; "": none is sent (P-auth-1).
	Challenge string
	// Reason says what is wrong, for an operator. Nothing of it is secret.
	Reason string
	// Subject and Issuer are whom the request claims to be, as far as that is known; not proven with status 401.
	Subject, Issuer string
}

func (e *Denied) Error() string { return e.Reason }

// Unauthorized returns a Denied of status 401.
func Unauthorized(reason string) *Denied {
	return &Denied{Status: http.StatusUnauthorized, Reason: reason}
}

// Forbidden returns a Denied of status 403.
func Forbidden(reason string) *Denied { return &Denied{Status: http.StatusForbidden, Reason: reason} }

// Unavailable returns a Denied of status 503.
func Unavailable(reason string) *Denied {
	return &Denied{Status: http.StatusServiceUnavailable, Reason: reason}
}
