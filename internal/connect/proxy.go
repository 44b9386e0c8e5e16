package connect

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
	"golang.org/x/net/http/httpproxy"
)

// Proxy is an HTTP proxy that is asked to CONNECT. Immutable once it is used.
type Proxy struct {
	// URL is http://host:port or https://host:port; ports 80 and 443 may be left out.
	URL *url.URL
	// Username and Password are shown to it (Basic) if one is not empty; else what the URL holds.
	Username, Password string
	// Headers are further fields of the request.
	Headers map[string]string
	// TLS is for https; nil: the system's roots. Without ServerName the host of URL is asked for.
	TLS *tls.Config
}

// Bounds of a proxy's answer: that much of its head is read, byte by byte, so that nothing of what follows is.
const maxHead = 8 << 10

// ParseProxy reads the URL of a proxy. Errors say what is wrong with it and do not show credentials.
func ParseProxy(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		var e *url.Error
		if errors.As(err, &e) { // its text holds the URL
			err = e.Err
		}
		return nil, fmt.Errorf("the URL of the proxy cannot be read: %w", err)
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("scheme %q of a proxy is not supported: want http or https", u.Scheme)
	case u.Hostname() == "":
		return nil, fmt.Errorf("the URL of the proxy has no host: want %s://host:port", u.Scheme)
	}
	return u, nil
}

// name is the proxy in errors: without credentials.
func (p *Proxy) name() string { return p.URL.Scheme + "://" + p.address() }

func (p *Proxy) address() string {
	port := map[string]string{"http": "80", "https": "443"}[p.URL.Scheme]
	return net.JoinHostPort(p.URL.Hostname(), cmp.Or(p.URL.Port(), port))
}

// tunnel asks the proxy at the other end of c for a way to address. It closes c unless it succeeds.
func (p *Proxy) tunnel(ctx context.Context, c net.Conn, address string) (_ net.Conn, err error) {
	release := guard(ctx, c)
	defer func() {
		late := release()
		if late {
			err = fmt.Errorf("no answer to CONNECT in time: %w", ctx.Err())
		}
		if err != nil {
			_ = c.Close()
		}
	}()
	out := c
	if p.URL.Scheme == "https" {
		cfg := p.TLS.Clone()
		if cfg == nil {
			cfg = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		cfg.ServerName = cmp.Or(cfg.ServerName, p.URL.Hostname())
		t := tls.Client(c, cfg)
		if err := t.HandshakeContext(ctx); err != nil {
			return nil, err
		}
		out = t
	}
	req, err := p.request(address)
	if err != nil {
		return nil, err
	}
	if _, err := out.Write(req); err != nil {
		return nil, err
	}
	head, err := readHead(out)
	if err != nil {
		return nil, err
	}
	return out, accepted(head)
}

// request is the CONNECT request.
func (p *Proxy) request(address string) ([]byte, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n", address, address)
	user, password := p.Username, p.Password
	if user == "" && password == "" && p.URL.User != nil {
		user = p.URL.User.Username()
		password, _ = p.URL.User.Password()
	}
	own := false
	for _, k := range slices.Sorted(maps.Keys(p.Headers)) {
		if v := p.Headers[k]; !httpguts.ValidHeaderFieldName(k) || !httpguts.ValidHeaderFieldValue(v) {
			return nil, fmt.Errorf("header %q: its name or value is none of HTTP", k)
		}
		own = own || strings.EqualFold(k, "Proxy-Authorization")
		fmt.Fprintf(&b, "%s: %s\r\n", k, p.Headers[k])
	}
	if !own && (user != "" || password != "") {
		fmt.Fprintf(&b, "Proxy-Authorization: Basic %s\r\n", base64.StdEncoding.EncodeToString([]byte(user+":"+password)))
	}
	b.WriteString("\r\n")
	return b.Bytes(), nil
}

var headEnd = []byte("\r\n\r\n")

// readHead reads up to the end of an HTTP head, and no byte more.
func readHead(r io.Reader) ([]byte, error) {
	head := make([]byte, 0, 512)
	for !bytes.HasSuffix(head, headEnd) {
		if len(head) == maxHead {
			return nil, fmt.Errorf("its answer to CONNECT has more than %d bytes of head", maxHead)
		}
		head = append(head, 0)
		if _, err := io.ReadFull(r, head[len(head)-1:]); err != nil {
			if errors.Is(err, io.EOF) {
				err = errors.New("it closed the connection instead of answering CONNECT")
			}
			return nil, err
		}
	}
	return head, nil
}

// accepted reads the status of an answer to CONNECT. Any 2xx opens the way (RFC 9110 section 9.3.6).
func accepted(head []byte) error {
	line, _, _ := bytes.Cut(head, []byte("\r\n"))
	version, rest, _ := strings.Cut(string(line), " ")
	code, reason, _ := strings.Cut(rest, " ")
	status, err := strconv.Atoi(code)
	if !strings.HasPrefix(version, "HTTP/1.") || err != nil || len(code) != 3 {
		return fmt.Errorf("its answer to CONNECT is no HTTP/1: %q", line[:min(len(line), 64)])
	}
	switch {
	case status/100 == 2:
		return nil
	case status == 407:
		return errors.New("it wants other credentials than it was shown (407)")
	}
	return fmt.Errorf("it refuses to CONNECT: %d %.64q", status, reason)
}

// FromEnvironment returns a Dialer.Proxy that obeys HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY, upper case before
// lower, as getenv gives them when it is called: for secure targets the first, else the second, and the third where
// that is empty. There is none for loopback addresses, and none under CGI (REQUEST_METHOD), where clients can set
// HTTP_PROXY.
func FromEnvironment(getenv func(string) string) func(Target) (*Proxy, error) {
	get := func(name string) string { return cmp.Or(getenv(name), getenv(strings.ToLower(name))) }
	if getenv("REQUEST_METHOD") != "" {
		return func(Target) (*Proxy, error) { return nil, nil }
	}
	all := get("ALL_PROXY")
	c := httpproxy.Config{HTTPProxy: cmp.Or(get("HTTP_PROXY"), all), HTTPSProxy: cmp.Or(get("HTTPS_PROXY"), all),
		NoProxy: get("NO_PROXY")}
	choose := c.ProxyFunc()
	return func(t Target) (*Proxy, error) {
		scheme := "http"
		if t.Secure {
			scheme = "https"
		}
		u, err := choose(&url.URL{Scheme: scheme, Host: t.Address})
		if err != nil || u == nil {
			return nil, proxyError(err)
		}
		if u, err = ParseProxy(u.String()); err != nil {
			return nil, proxyError(err)
		}
		return &Proxy{URL: u}, nil
	}
}

// proxyError names where the proxy of the environment stands.
func proxyError(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("HTTP_PROXY, HTTPS_PROXY or ALL_PROXY: %w", err)
}
