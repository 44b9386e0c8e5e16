package router

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/seed31b3bfd0/slimgo/router/netloop"
)

// endpoint is one of Options.Listen, taken apart. Rules: P-conf-11.
type endpoint struct {
	listen    string // for netloop.Listen
	webSocket bool
	secure    bool        // it says that it has TLS
	path      string      // of a WebSocket's requests
	mode      fs.FileMode // of a unix socket's file; 0: none is given
}

// Ports of endpoints that have none (RFC 6455 section 3).
const (
	webSocketPort    = "80"
	webSocketTLSPort = "443"
)

// parseEndpoint reads "127.0.0.1:46357", "unix:///run/slim.sock" or "ws://127.0.0.1:46357/path".
func parseEndpoint(s string) (e endpoint, err error) {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		return endpoint{listen: s}, checkPort(s)
	}
	switch scheme {
	case "unix":
		_, mode, err := netloop.SplitUnix(s)
		return endpoint{listen: s, mode: mode}, err
	case "ws":
		return parseWebSocket(rest, webSocketPort)
	case "wss":
		e, err := parseWebSocket(rest, webSocketTLSPort)
		e.secure = true
		return e, err
	}
	return e, fmt.Errorf("unknown scheme %s: want HOST:PORT, ws://HOST:PORT/PATH or unix://PATH", scheme)
}

// parseWebSocket reads what follows ws:// or wss://. A query or fragment counts for nothing. port is for a host
// without.
func parseWebSocket(s, port string) (e endpoint, err error) {
	s, _, _ = strings.Cut(s, "#")
	s, _, _ = strings.Cut(s, "?")
	at := strings.IndexByte(s, '/')
	if at < 0 {
		at, s = len(s), s+"/"
	}
	host := s[:at]
	switch {
	case host == "":
		return e, errors.New("the host is missing: write it as ws://0.0.0.0:46357")
	case strings.ContainsRune(host, '@'):
		return e, errors.New("a listener has no user")
	}
	for _, c := range []byte(s[at:]) {
		if c <= ' ' || c > '~' {
			return e, fmt.Errorf("byte %#02x in the path: percent-encode it", c)
		}
	}
	if _, _, err := net.SplitHostPort(host); err != nil {
		full := net.JoinHostPort(strings.Trim(host, "[]"), port)
		if _, _, err := net.SplitHostPort(full); err != nil || strings.Count(host, ":") == 1 {
			return e, fmt.Errorf("%q is no HOST:PORT", host)
		}
		if strings.Contains(host, ":") && host[0] != '[' {
			return e, fmt.Errorf("an IPv6 address stands in brackets: [%s]", host)
		}
		host = full
	}
	return endpoint{listen: host, webSocket: true, path: s[at:]}, checkPort(host)
}

// checkTLS compares what an endpoint says of TLS with what there is.
func (e *endpoint) checkTLS(has bool) error {
	switch {
	case e.secure && !has:
		return errors.New("wss:// needs TLS (Options.TLS)")
	case e.webSocket && !e.secure && has:
		return errors.New("ws:// has no TLS: write it as wss://")
	case strings.HasPrefix(e.listen, "unix://") && has:
		return errors.New("a unix socket has no TLS")
	}
	return nil
}

// parse takes e apart, and compares what it says of TLS with what there is.
func (e *Endpoint) parse() (endpoint, error) {
	p, err := parseEndpoint(e.Addr)
	if err == nil {
		err = p.checkTLS(e.TLS != nil)
	}
	return p, err
}

// CheckEndpoints says what of some endpoints no node can listen on, without opening any: what is no endpoint, and what is
// at the place of one before it. The error joins a *ListenError for each.
func CheckEndpoints(all []Endpoint) error {
	_, err := parseEndpoints(all)
	return err
}

// parseEndpoints takes endpoints apart.
func parseEndpoints(all []Endpoint) (parsed []endpoint, err error) {
	var faults []error
	for i := range all {
		e, err := all[i].parse()
		for j := 0; err == nil && j < i; j++ {
			err = e.conflict(&parsed[j], all[j].Addr)
		}
		if err != nil {
			faults = append(faults, &ListenError{Index: i, Addr: all[i].Addr, Err: err})
			e = endpoint{} // in nobody's way
		}
		parsed = append(parsed, e)
	}
	return parsed, joined(faults)
}

// url is e as a client dials it, bound to addr.
func (e *endpoint) url(addr string, secure bool) string {
	scheme := "http"
	switch {
	case strings.HasPrefix(e.listen, "unix://"):
		return "unix://" + addr
	case e.webSocket:
		scheme = "ws"
	}
	if secure {
		scheme += "s"
	}
	return scheme + "://" + addr + e.path
}

// conflict says why e and o, which is written as addr, cannot both be listened on; nil: they can. Rules: P-conf-21.
func (e *endpoint) conflict(o *endpoint, addr string) error {
	if e.place() == o.place() && !freePort(e.listen) {
		return errors.New("the address is listed twice: remove one")
	}
	a, _ := netip.ParseAddrPort(e.listen) // a host name has no part in what follows
	b, _ := netip.ParseAddrPort(o.listen)
	x, y := a.Addr().Unmap(), b.Addr().Unmap()
	switch {
	case !x.IsValid() || !y.IsValid() || a.Port() != b.Port() || a.Port() == 0 || x.Is4() != y.Is4():
		return nil
	case x == y:
		return errors.New("the address is listed twice: remove one")
	case x.IsUnspecified():
		return fmt.Errorf("it includes %s, which is in the list before: remove one", addr)
	case y.IsUnspecified():
		return fmt.Errorf("%s, which is in the list before, includes it: remove one", addr)
	}
	return nil
}

// freePort reports whether an address takes whatever port is free.
func freePort(addr string) bool {
	_, port, err := net.SplitHostPort(addr)
	return err == nil && port == "0" && !strings.HasPrefix(addr, "unix://")
}

// checkPort refuses the port of HOST:PORT that is no number of one.
func checkPort(addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	if n, err := strconv.ParseUint(port, 10, 64); err == nil && n > 65535 {
		return fmt.Errorf("port %s is above 65535", port)
	}
	return nil
}

// place is where an endpoint is, whatever else it says: an address, or the path of a unix socket.
func (e *endpoint) place() string {
	if path, _, err := netloop.SplitUnix(e.listen); err == nil && strings.HasPrefix(e.listen, "unix://") {
		return "unix://" + filepath.Clean(path)
	}
	return e.listen
}
