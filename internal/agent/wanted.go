package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Wanted is a link that a command asks for. Immutable.
type Wanted struct {
	ID string // link_id
	// Client is the whole configuration of a client as JSON, as an imperative command has it; nil: what follows counts. An empty
	// one has ID alone: a link that is there under it already.
	Client []byte
	// Requirements, as a control plane states them (P-ctl-6).
	Endpoint    string // with its scheme
	TLS         bool
	Auth        string // none, basic, jwt, oidc or spire
	TrustDomain string // of spire; "": that of the node's own
	Timeout     time.Duration
	Backoff     time.Duration // between attempts; 0: as configured
	Keepalive   *Keepalive    // nil: as configured
}

// Keepalive are the pings of a link.
type Keepalive struct {
	TCP, HTTP2, Timeout time.Duration
	WhileIdle           bool
}

// same reports whether two links are dialled in the same way.
func (w *Wanted) same(o *Wanted) bool {
	x, y := *w, *o
	x.Client, y.Client, x.Keepalive, y.Keepalive = nil, nil, nil, nil
	equal := x.Endpoint == y.Endpoint && x.TLS == y.TLS && x.Auth == y.Auth && x.TrustDomain == y.TrustDomain &&
		x.Timeout == y.Timeout && x.Backoff == y.Backoff && string(w.Client) == string(o.Client)
	if (w.Keepalive == nil) != (o.Keepalive == nil) {
		return false
	}
	return equal && (w.Keepalive == nil || *w.Keepalive == *o.Keepalive)
}

// maxConfig bounds the configuration of one link, in bytes.
const maxConfig = 64 << 10

// parseWanted reads the config_data of a control plane. Unknown keys are ignored. Rules: P-ctl-6.
func parseWanted(id, data string) (*Wanted, error) {
	if len(data) > maxConfig {
		return nil, fmt.Errorf("it has %d bytes, and %d at most are read", len(data), maxConfig)
	}
	var x struct {
		Endpoint  *string         `json:"endpoint"`
		TLS       *bool           `json:"tls_required"`
		Auth      json.RawMessage `json:"auth_method"`
		Timeout   *uint32         `json:"timeout"`
		Backoff   *uint32         `json:"backoff"`
		Keepalive *struct {
			TCP       *string `json:"tcp_keepalive"`
			HTTP2     *string `json:"http2_keepalive"`
			Timeout   *string `json:"timeout"`
			WhileIdle bool    `json:"keep_alive_while_idle"`
		} `json:"keepalive"`
	}
	if err := json.Unmarshal([]byte(data), &x); err != nil {
		return nil, err
	}
	switch {
	case x.Endpoint == nil || *x.Endpoint == "":
		return nil, errors.New("missing field `endpoint`")
	case x.TLS == nil:
		return nil, errors.New("missing field `tls_required`")
	case x.Auth == nil:
		return nil, errors.New("missing field `auth_method`")
	}
	w := &Wanted{ID: id, Endpoint: *x.Endpoint, TLS: *x.TLS}
	if err := w.parseAuth(x.Auth); err != nil {
		return nil, err
	}
	if x.Timeout != nil {
		w.Timeout = time.Duration(*x.Timeout) * time.Millisecond
	}
	if x.Backoff != nil {
		w.Backoff = time.Duration(*x.Backoff) * time.Millisecond
	}
	if k := x.Keepalive; k != nil {
		w.Keepalive = &Keepalive{TCP: time.Minute, HTTP2: time.Minute, Timeout: 10 * time.Second, WhileIdle: k.WhileIdle}
		for _, f := range []struct {
			text *string
			to   *time.Duration
		}{{k.TCP, &w.Keepalive.TCP}, {k.HTTP2, &w.Keepalive.HTTP2}, {k.Timeout, &w.Keepalive.Timeout}} {
			if f.text == nil {
				continue
			}
			d, err := parseDuration(*f.text)
			if err != nil {
				return nil, fmt.Errorf("keepalive: %w", err)
			}
			*f.to = d
		}
	}
	return w, nil
}

// parseAuth reads auth_method: a word, or {"spire": {"trust_domain": …}}.
func (w *Wanted) parseAuth(data json.RawMessage) error {
	var word string
	if json.Unmarshal(data, &word) == nil {
		switch word {
		case "none", "basic", "jwt", "oidc":
			w.Auth = word
			return nil
		}
		return fmt.Errorf("auth_method %q is not known", word)
	}
	var x struct {
		Spire *struct {
			TrustDomain *string `json:"trust_domain"`
		} `json:"spire"`
	}
	if err := json.Unmarshal(data, &x); err != nil || x.Spire == nil {
		return errors.New("auth_method is neither a word nor spire")
	}
	w.Auth = "spire"
	if d := x.Spire.TrustDomain; d != nil {
		w.TrustDomain = *d
	}
	return nil
}

// durationUnits are those of upstream's texts, which have more than Go's.
var durationUnits = map[string]time.Duration{"ns": 1, "us": time.Microsecond, "µs": time.Microsecond, "ms": time.Millisecond,
	"s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour, "w": 7 * 24 * time.Hour, "y": 31_556_926 * time.Second}

// maxDuration is longer than anything that is waited for here.
const maxDuration = 100 * 365 * 24 * time.Hour

// parseDuration reads texts like 1m30s and 0y. Rules: P-ctl-6.
func parseDuration(s string) (time.Duration, error) {
	var sum time.Duration
	rest := strings.Join(strings.Fields(s), "") // white space counts nowhere
	if rest == "" {
		return 0, errors.New("empty duration")
	}
	for rest != "" {
		end := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
		if end <= 0 {
			return 0, fmt.Errorf("%q is no duration", s)
		}
		n, err := strconv.ParseUint(rest[:end], 10, 63)
		if err != nil {
			return 0, fmt.Errorf("%q is no duration", s)
		}
		rest = rest[end:]
		end = strings.IndexFunc(rest, func(r rune) bool { return r >= '0' && r <= '9' })
		if end < 0 {
			end = len(rest)
		}
		unit, ok := durationUnits[rest[:end]]
		if !ok {
			return 0, fmt.Errorf("%q is no duration: the unit %q is not known", s, rest[:end])
		}
		rest = rest[end:]
		if n > uint64(maxDuration/unit) {
			return maxDuration, nil
		}
		if sum += time.Duration(n) * unit; sum > maxDuration {
			return maxDuration, nil
		}
	}
	return sum, nil
}

// parseClient reads the config_data of an imperative command, as far as this package has to know it. The link id in it goes
// before the command's.
func parseClient(id, data string) (*Wanted, error) {
	if len(data) > maxConfig {
		return nil, fmt.Errorf("it has %d bytes, and %d at most are read", len(data), maxConfig)
	}
	var x struct {
		Endpoint string `json:"endpoint"`
		LinkID   string `json:"link_id"`
	}
	if err := json.Unmarshal([]byte(data), &x); err != nil {
		return nil, err
	}
	if x.LinkID != "" {
		id = x.LinkID
	}
	switch {
	case x.Endpoint == "":
		return nil, errors.New("missing field `endpoint`")
	case id == "" || len(id) > maxLinkID:
		return nil, fmt.Errorf("a link id has 1 to %d bytes", maxLinkID)
	}
	return &Wanted{ID: id, Client: []byte(data), Endpoint: x.Endpoint}, nil
}

// clientKind is the connection_type that the configuration of a client has.
func clientKind(data []byte) string {
	var x struct {
		Kind string `json:"connection_type"`
	}
	_ = json.Unmarshal(data, &x) // parseClient has read it
	return x.Kind
}
