package fetch

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// Errors of URLs that are not asked.
var (
	// ErrPlain is the reason of an URL that is not https although it has to be.
	ErrPlain = errors.New("must use https: what comes from there decides who may connect, and only from this machine itself " +
		"(localhost, 127.0.0.1, [::1]) it is taken in the clear")
	// ErrURL is the reason of what is no URL of HTTP.
	ErrURL = errors.New("is no URL of the form https://HOST/PATH")
)

// maxShown bounds the bytes of an URL in errors.
const maxShown = 200

// ParseURL parses an absolute URL of http or https. Unless plain is set, http is for this machine only: the error of another
// URL wraps ErrPlain (P-oidc-1). The error of what is no URL wraps ErrURL.
func ParseURL(raw string, plain bool) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("%s %w", shownText(raw), ErrURL)
	}
	if u.Scheme == "http" && !plain && !local(u.Hostname()) {
		return nil, fmt.Errorf("%s %w", Shown(u), ErrPlain)
	}
	return u, nil
}

// local reports whether a host is this machine by its name. [::1] counts, which upstream means to exempt and does not.
func local(host string) bool {
	return strings.EqualFold(host, "localhost") || host == "127.0.0.1" || host == "::1"
}

// SameOrigin reports whether two URLs have the same scheme, host and port.
func SameOrigin(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b)
}

func port(u *url.URL) string {
	switch p := u.Port(); {
	case p != "":
		return p
	case u.Scheme == "http":
		return "80"
	default:
		return "443"
	}
}

// Shown returns an URL for people: without user, query and fragment, which may be secret, and not longer than a line.
func Shown(u *url.URL) string {
	return cut((&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}).String())
}

// shownText is Shown of what may be no URL: nothing of it that may be secret, and nothing that is no text.
func shownText(raw string) string {
	raw, _, _ = strings.Cut(raw, "?")
	raw, _, _ = strings.Cut(raw, "#")
	if at := strings.LastIndexByte(raw, '@'); at >= 0 {
		raw = "…" + raw[at:]
	}
	return fmt.Sprintf("%q", cut(raw))
}

func cut(s string) string {
	if len(s) > maxShown {
		return strings.ToValidUTF8(s[:maxShown], "") + "…"
	}
	return s
}
