package uplink

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/simnet"
	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/h2"
	"github.com/seed31b3bfd0/slimgo/wire/link"
)

func TestLinksAreNegotiated(t *testing.T) {
	for _, c := range []struct {
		name string
		f    fake
		o    Options
		want Link
	}{
		{"an app's", fake{}, Options{LinkID: "l", NodeID: "n"},
			Link{ID: "l", Kind: Edge, Signed: true, RemoteVersion: "3.4.6", RemoteNode: "fake"}},
		{"with PQC", fake{}, Options{LinkID: "l", EnforcePQC: true},
			Link{ID: "l", Kind: Edge, Signed: true, Hybrid: true, RemoteVersion: "3.4.6", RemoteNode: "fake"}},
		{"of another domain", fake{link: link.Config{Deployment: "theirs"}},
			Options{LinkID: "l", Kind: Remote, Deployment: "ours"},
			Link{ID: "l", Kind: Remote, Signed: true, RemoteVersion: "3.4.6", RemoteNode: "fake", RemoteDeployment: "theirs"}},
		{"of a peer, which signs nothing", fake{}, Options{LinkID: "l", Kind: Peer},
			Link{ID: "l", Kind: Peer, RemoteVersion: "3.4.6", RemoteNode: "fake"}},
		{"without a key where that is allowed", fake{reply: withoutKey}, Options{LinkID: "l", AllowUnsigned: true},
			Link{ID: "l", Kind: Edge, RemoteVersion: "3.4.6", RemoteNode: "fake"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, &c.f, func(t *testing.T, f *fake) {
				got, _ := f.dial(c.o)
				if got.Link() != c.want {
					t.Errorf("got %+v, want %+v", got.Link(), c.want)
				}
				if m := got.NewMAC(); (m != nil) != c.want.Signed {
					t.Errorf("a MAC to sign with: %v", m != nil)
				}
				if got.RemoteAddr().String() != f.addr || got.LocalAddr().String() == f.addr {
					t.Errorf("from %v to %v", got.LocalAddr(), got.RemoteAddr())
				}
			})
		})
	}
}

// withoutKey is a reply of a node that signs nothing.
func withoutKey(reply []byte) []byte {
	var m wire.Message
	if err := wire.Scan(reply, &m); err != nil {
		panic(err)
	}
	l, err := wire.ParseLink(reply, &m)
	if err != nil {
		panic(err)
	}
	l.Key = nil
	return wire.AppendLink(nil, &l)
}

// The request and that of the link go out together: one round trip less.
func TestDialTakesTwoWays(t *testing.T) {
	bubble(t, &fake{}, func(t *testing.T, f *fake) {
		begin := time.Now()
		f.dial(Options{})
		if took := time.Since(begin); took != 2*f.nw.Delay {
			t.Errorf("it took %v over a network with %v each way", took, f.nw.Delay)
		}
	})
}

func TestRequestSaysWhatOptionsSay(t *testing.T) {
	got := map[string]string{}
	f := &fake{answer: func(_ *peer, r *h2.Request) bool {
		got["scheme"], got["authority"], got["path"] = string(r.Scheme), string(r.Authority), string(r.Path)
		for _, name := range []string{"user-agent", "authorization", "x-more", "te", "content-type"} {
			v, _ := field(r, name)
			got[name] = v
		}
		return false
	}}
	bubble(t, f, func(t *testing.T, f *fake) {
		f.dial(Options{Scheme: "https", Authority: "node.example", UserAgent: "me",
			Fields: []Field{{"authorization", "Bearer x"}, {"x-more", "y"}}})
		for name, want := range map[string]string{"scheme": "https", "authority": "node.example", "path": openChannel,
			"user-agent": "me", "authorization": "Bearer x", "x-more": "y", "te": "trailers"} {
			if got[name] != want {
				t.Errorf("%s: %q, want %q", name, got[name], want)
			}
		}
	})
}

func field(r *h2.Request, name string) (string, bool) {
	if name == "authorization" {
		return string(r.Authorization), true
	}
	v, ok := r.Field(name)
	return string(v), ok
}

// says answers the first bytes with text.
func says(text string, then func(*simnet.Conn)) func(*simnet.Conn) {
	return func(nc *simnet.Conn) {
		_, _ = nc.Read(make([]byte, 1<<20))
		_, _ = nc.Write([]byte(text))
		then(nc)
	}
}

// refuse answers a request with trailers only, or with an HTTP status.
func refuse(http, grpc int, text string) func(*peer, *h2.Request) bool {
	return func(p *peer, _ *h2.Request) bool {
		p.h2.Refuse(p.stream, http, grpc, text)
		return true
	}
}

const settings = "\x00\x00\x00\x04\x00\x00\x00\x00\x00"

// Why there is no connection: whose doing it was, what was going on, and what there was to say.
func TestDialFails(t *testing.T) {
	stay := func(nc *simnet.Conn) { _, _ = io.Copy(io.Discard, nc) }
	bye := func(nc *simnet.Conn) { _ = nc.Close() }
	reset := func(nc *simnet.Conn) { _, _ = nc.Read(make([]byte, 1)); _ = nc.Close() } // what is closed unread is reset
	const open, negotiate = "opening the channel", "negotiating the link"
	page := func(p *peer, _ *h2.Request) bool {
		p.h2.RespondAs(p.stream, 503, "text/html")
		return true
	}
	refused := func(p *peer, _ *h2.Request) bool {
		p.h2.Reset(p.stream, h2.RefusedStream)
		return true
	}
	noLink := fake{answer: func(p *peer, _ *h2.Request) bool { p.machine = nil; return false },
		message: func(*peer, []byte, *wire.Message) {}}
	farewell := settings + "\x00\x00\x0c\x07\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00busy"
	acks := func([]byte) []byte { return wire.AppendAck(nil, 1, true, "") }
	for _, c := range []struct {
		name  string
		f     fake
		o     Options
		fault Fault
		doing string
		text  string
	}{
		{"credentials", fake{answer: refuse(401, -1, "")}, Options{}, Node, open, "HTTP status 401"},
		{"not a node", fake{answer: refuse(200, 12, "what?")}, Options{}, Node, open, `gRPC status 12: "what?"`},
		{"a page", fake{answer: page}, Options{}, Node, open, "HTTP status 503"},
		{"a reset", fake{answer: refused}, Options{}, Node, open, "REFUSED_STREAM"},
		{"a farewell", fake{serve: says(farewell, stay)}, Options{}, Node, open, `going away: NO_ERROR "busy"`},
		{"TLS", fake{serve: says("\x15\x03\x03\x00\x02\x02\x32", bye)}, Options{}, Network, open, "EOF"},
		{"HTTP/1", fake{serve: says("HTTP/1.1 400 Bad Request\r\n\r\n", stay)}, Options{}, Node, open, "h2: "},
		{"nothing said", fake{serve: reset}, Options{}, Network, open, "connection reset"},
		{"nothing heard", fake{serve: stay}, Options{}, Network, open, "not done within 20s"},
		{"too slow", fake{serve: stay}, Options{Setup: 3 * time.Second}, Network, open, "not done within 3s"},
		{"opened, and no link", noLink, Options{}, Network, negotiate, "not done within"},
		{"another message", fake{reply: acks}, Options{}, Node, negotiate, "not_negotiation"},
		{"no message", fake{reply: func([]byte) []byte { return []byte{0xff} }}, Options{}, Node, negotiate, "undecodable"},
		{"no key", fake{reply: withoutKey}, Options{}, Node, negotiate, "no_key"},
		{"no PQC", fake{reply: acks}, Options{EnforcePQC: true}, Node, negotiate, "not_negotiation"},
		{"refused by the node", fake{link: link.Config{EnforcePQC: true}}, Options{}, Node, negotiate, "ended the channel"},
		{"a peer that is itself", fake{}, Options{Kind: Peer, NodeID: "fake"}, Ours, negotiate, "self-connection"},
		{"a link id that is none", fake{}, Options{LinkID: "\xff"}, Ours, open, "UTF-8"},
		{"a version that is none", fake{}, Options{Version: "x"}, Ours, open, "version"},
		{"fields without bounds", fake{}, Options{Fields: []Field{{"x", strings.Repeat("x", 70000)}}}, Ours, open,
			"too large"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, &c.f, func(t *testing.T, f *fake) {
				e := f.refuses(c.o)
				said := e.Error()
				if e.Fault != c.fault || e.Doing != c.doing || !strings.Contains(said, c.text) || !strings.Contains(said, f.addr) {
					t.Errorf("%v, %s: %v\nwant %v, %s: %s", e.Fault, e.Doing, e, c.fault, c.doing, c.text)
				}
			})
		})
	}
}

func TestErrorsHaveTheirCause(t *testing.T) {
	bubble(t, &fake{answer: refuse(200, 7, strings.Repeat("no ", 1000))}, func(t *testing.T, f *fake) {
		var s *StatusError
		if e := f.refuses(Options{}); !errors.As(e, &s) || s.GRPC != 7 || s.HTTP != 200 || len(s.Message) > maxText {
			t.Errorf("got %v", e)
		}
	})
	bubble(t, &fake{reply: withoutKey}, func(t *testing.T, f *fake) {
		var p *link.PeerError
		if e := f.refuses(Options{}); !errors.As(e, &p) || p.Reason != link.ReasonNoKey {
			t.Errorf("got %v", e)
		}
	})
	bubble(t, &fake{serve: func(*simnet.Conn) {}}, func(t *testing.T, f *fake) {
		if e := f.refuses(Options{}); !errors.Is(e, context.DeadlineExceeded) {
			t.Errorf("got %v", e)
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if _, err := Dial(ctx, f.addr, &Options{DialContext: f.nw.Dial}); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		if _, err := Dial(t.Context(), "nobody", &Options{DialContext: f.nw.Dial}); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("got %v", err)
		}
	})
	if !errors.Is(ErrClosed, net.ErrClosed) {
		t.Error("ErrClosed is no net.ErrClosed")
	}
}

// Other servers than SLIM nodes: what they send comes as it is.
func TestWithoutLinkMessagesPassAsTheyAre(t *testing.T) {
	f := &fake{answer: func(p *peer, _ *h2.Request) bool { p.machine = nil; p.f.joined <- p; return false }}
	bubble(t, f, func(t *testing.T, f *fake) {
		c, p := f.dial(Options{NoLink: true})
		ack := wire.AppendAck(nil, 5, true, "")
		p.sendAs(ack)
		if got := receive(t, c); string(got) != string(ack) {
			t.Errorf("got %x", got)
		}
		msg := publication(1, 100)
		if err := c.Send(t.Context(), msg); err != nil {
			t.Fatal(err)
		}
		if got := p.messages(); len(got) != 1 || string(got[0]) != string(msg) {
			t.Errorf("got %x", got)
		}
		if c.Link() != (Link{}) || c.NewMAC() != nil {
			t.Errorf("there is a link: %+v", c.Link())
		}
	})
}

// What is shown is made anew for each connection, and without it none is made.
func TestAuthorization(t *testing.T) {
	var shown []string
	f := &fake{answer: func(_ *peer, r *h2.Request) bool {
		v, _ := field(r, "authorization")
		shown = append(shown, v)
		return false
	}}
	bubble(t, f, func(t *testing.T, f *fake) {
		values := []string{"Bearer a", "Bearer b", ""}
		o := Options{Fields: make([]Field, 0, 4), Authorization: func(context.Context) (string, error) {
			v := values[0]
			values = values[1:]
			return v, nil
		}}
		for range 3 {
			c, _ := f.dial(o)
			if len(c.o.Fields) > 0 {
				t.Error("the connection keeps what it has shown")
			}
		}
		if want := []string{"Bearer a", "Bearer b", ""}; !slices.Equal(shown, want) {
			t.Errorf("shown %q, want %q", shown, want)
		}
		for value, text := range map[string]string{
			"Bearer a\n": "line break", "Bearer a\x00": "control character", strings.Repeat("a", maxAuthorization+1): "16385 bytes",
		} {
			e := f.refuses(Options{Authorization: func(context.Context) (string, error) { return value, nil }})
			if e.Fault != Ours || e.Doing != authorizing || !strings.Contains(e.Error(), text) || strings.Contains(e.Error(), "Bearer") {
				t.Errorf("%.20q: %v of %v", value, e, e.Fault)
			}
		}
		failed := errors.New("no key")
		e := f.refuses(Options{Authorization: func(context.Context) (string, error) { return "Bearer a", failed }})
		if !errors.Is(e, failed) || e.Doing != authorizing {
			t.Errorf("got %v", e)
		}
		e = f.refuses(Options{Setup: time.Second, Authorization: func(ctx context.Context) (string, error) {
			<-ctx.Done()
			return "", context.Cause(ctx)
		}})
		if !errors.Is(e, context.DeadlineExceeded) {
			t.Errorf("got %v", e)
		}
		if len(shown) != 3 {
			t.Errorf("%d requests went out", len(shown))
		}
	})
}
