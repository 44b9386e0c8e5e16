package fetch

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/sync/singleflight"
)

// What a Client without options does.
const (
	DefaultTimeout   = 10 * time.Second
	DefaultMaxBytes  = 1 << 20
	DefaultUserAgent = "AGNTCY Slim Auth" // as upstream, which providers may have been told to let in
)

const (
	maxRedirects = 5
	maxAtOnce    = 16 // requests of a client
	maxExcerpt   = 80 // bytes of an answer in an error
)

// Options are bounds. Their zeros mean the defaults above.
type Options struct {
	// Timeout is for a whole request, from the name's resolution to the last byte.
	Timeout time.Duration
	// MaxBytes bounds the body of an answer.
	MaxBytes int
	// UserAgent is the header of that name.
	UserAgent string
	// Plain allows http to other machines.
	Plain bool
	// TLS verifies servers; nil: by the system's roots. It is not changed after New.
	TLS *tls.Config
}

// Client asks identity providers. Safe for all.
type Client struct {
	o      Options
	http   http.Client
	joined singleflight.Group
	slots  chan struct{}
	life   context.Context // of the requests that several wait for
	end    context.CancelFunc
}

// New returns a Client, which has to be closed.
func New(o Options) *Client {
	return NewOver(o, &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		TLSClientConfig:        o.TLS,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true, // what is small on the wire stays small
		MaxResponseHeaderBytes: 64 << 10,
		MaxIdleConns:           maxAtOnce,
		IdleConnTimeout:        30 * time.Second,
	})
}

// NewOver returns a Client that asks over a transport of the caller's, such as a provider in memory of a test.
func NewOver(o Options, over http.RoundTripper) *Client {
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	if o.MaxBytes <= 0 {
		o.MaxBytes = DefaultMaxBytes
	}
	if o.UserAgent == "" {
		o.UserAgent = DefaultUserAgent
	}
	c := &Client{o: o, slots: make(chan struct{}, maxAtOnce), http: http.Client{CheckRedirect: redirect, Transport: over}}
	c.life, c.end = context.WithCancel(context.Background())
	return c
}

// Close ends what goes on. Requests fail after it.
func (c *Client) Close() {
	c.end()
	c.http.CloseIdleConnections()
}

// Reply is an answer, of any status. It is shared: read only.
type Reply struct {
	Status int
	// Body is all of it, at most MaxBytes, of any kind; Decode takes it if it is JSON.
	Body   []byte
	what   string // method and URL, for errors
	kind   string // Content-Type
	secret bool   // the body may hold what errors must not show
}

// Get asks for an URL. All who ask for the same one at the same time share an answer, which does not end when one of them has
// waited long enough. An error names the URL, without query, and says what to do; it is never for the peer of a connection.
func (c *Client) Get(ctx context.Context, raw string) (*Reply, error) {
	u, err := ParseURL(raw, c.o.Plain)
	if err != nil {
		return nil, err
	}
	done := c.joined.DoChan(u.String(), func() (any, error) { return c.ask(c.life, http.MethodGet, u, nil, nil) })
	select {
	case r := <-done:
		if r.Err != nil {
			return nil, r.Err
		}
		return r.Val.(*Reply), nil
	case <-ctx.Done():
		return nil, c.fault(ctx, http.MethodGet+" "+Shown(u), ctx.Err())
	}
}

// GetWith is Get with the header Authorization of that value, for this caller alone.
func (c *Client) GetWith(ctx context.Context, raw, authorization string) (*Reply, error) {
	u, err := ParseURL(raw, c.o.Plain)
	if err != nil {
		return nil, err
	}
	return c.ask(ctx, http.MethodGet, u, http.Header{"Authorization": {authorization}}, nil)
}

// PostForm sends a form, with a header Authorization unless that is empty. It follows no redirect.
func (c *Client) PostForm(ctx context.Context, raw, authorization string, form url.Values) (*Reply, error) {
	u, err := ParseURL(raw, c.o.Plain)
	if err != nil {
		return nil, err
	}
	h := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	if authorization != "" {
		h.Set("Authorization", authorization)
	}
	return c.ask(ctx, http.MethodPost, u, h, []byte(form.Encode()))
}

// ask makes one request, when there is a slot for it.
func (c *Client) ask(ctx context.Context, method string, u *url.URL, h http.Header, body []byte) (*Reply, error) {
	what := method + " " + Shown(u)
	ctx, cancel := context.WithTimeout(ctx, c.o.Timeout)
	defer cancel()
	defer context.AfterFunc(c.life, cancel)()
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
		return nil, c.fault(ctx, what, ctx.Err())
	}
	r, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, bare(err))
	}
	r.Header = http.Header{"Accept": {"*/*"}, "User-Agent": {c.o.UserAgent}}
	for k, v := range h {
		r.Header[k] = v
	}
	answer, err := c.http.Do(r)
	if err != nil {
		return nil, c.fault(ctx, what, err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(io.LimitReader(answer.Body, int64(c.o.MaxBytes)+1))
	switch {
	case err != nil:
		return nil, c.fault(ctx, what, err)
	case len(b) > c.o.MaxBytes:
		return nil, fmt.Errorf("%s: the answer has more than %d bytes: is this the right URL?", what, c.o.MaxBytes)
	}
	return &Reply{Status: answer.StatusCode, Body: b, what: what, kind: answer.Header.Get("Content-Type"), secret: h != nil}, nil
}

// redirect follows what leads to the same origin. Anything else could lead inside, or elsewhere with what is secret.
func redirect(to *http.Request, via []*http.Request) error {
	switch first := via[0]; {
	case first.Method != http.MethodGet:
		return fmt.Errorf("is redirected to %s, and what is sent there is not sent elsewhere: configure the URL it leads to", Shown(to.URL))
	case !SameOrigin(first.URL, to.URL):
		return fmt.Errorf("is redirected to %s, and only redirects to the same scheme, host and port are followed: "+
			"configure the URL it leads to", Shown(to.URL))
	case len(via) > maxRedirects:
		return fmt.Errorf("is redirected more than %d times: the provider does not know where this is", maxRedirects)
	}
	return nil
}

// fault says what is wrong with a request without an answer. It wraps err, stripped of URLs.
func (c *Client) fault(ctx context.Context, what string, err error) error {
	var dns *net.DNSError
	switch {
	case c.life.Err() != nil:
		return fmt.Errorf("%s: given up, this node is stopping: %w", what, context.Canceled)
	case errors.Is(err, context.DeadlineExceeded) || ctx.Err() == context.DeadlineExceeded:
		return fmt.Errorf("%s: no complete answer in time (%v at most): is the identity provider well, and may this machine reach it? %w",
			what, c.o.Timeout, context.DeadlineExceeded)
	case errors.As(err, &dns):
		return fmt.Errorf("%s: %w: is the host spelled right, and can this machine resolve it?", what, bare(err))
	}
	return fmt.Errorf("%s: %w", what, bare(err))
}

// bare takes off what names an URL with its query.
func bare(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return bare(u.Err)
	}
	return err
}

// OK returns an error unless the status is one of success.
func (r *Reply) OK() error {
	if r.Status/100 == 2 {
		return nil
	}
	return fmt.Errorf("%s: status %d: %s", r.what, r.Status, r.hint())
}

func (r *Reply) hint() string {
	switch {
	case r.Status == http.StatusNotFound:
		return "there is nothing at this URL: is the issuer spelled as the provider spells it?"
	case r.Status == http.StatusUnauthorized || r.Status == http.StatusForbidden:
		return "the provider does not let us have it: are id and secret right?"
	case r.Status == http.StatusTooManyRequests || r.Status >= 500:
		return "the provider cannot answer now; it is asked again later"
	}
	return "this is not what an identity provider answers: is this the right URL?"
}

// Decode reads the body as one JSON object, with encoding/json, numbers of open types as json.Number.
func (r *Reply) Decode(into any) error {
	err := decode(r.Body, into)
	if err == nil {
		return nil
	}
	kind, _, _ := mime.ParseMediaType(r.kind)
	return fmt.Errorf("%s: the answer is not the JSON that is expected there, but of type %q, %s (%w): is this the right URL?",
		r.what, kind, r.excerpt(), err)
}

func decode(b []byte, into any) error {
	if b = bytes.TrimLeft(b, " \t\r\n"); !bytes.HasPrefix(b, []byte("{")) {
		return errors.New("no object")
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("there is more after the object")
	}
	return nil
}

// excerpt is the beginning of the body, on one line, or its length.
func (r *Reply) excerpt() string {
	b := r.Body
	if r.secret || len(b) == 0 {
		return fmt.Sprintf("of %d bytes", len(b))
	}
	if len(b) > maxExcerpt {
		b = b[:maxExcerpt]
	}
	return fmt.Sprintf("and begins with %q", strings.ToValidUTF8(string(b), "?"))
}

// JSON asks for an URL that must answer with success and one JSON object.
func (c *Client) JSON(ctx context.Context, raw string, into any) error {
	r, err := c.Get(ctx, raw)
	if err != nil {
		return err
	}
	if err := r.OK(); err != nil {
		return err
	}
	return r.Decode(into)
}
