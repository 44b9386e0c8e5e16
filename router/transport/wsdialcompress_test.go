package transport

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/seed31b3bfd0/slimgo/wire/compress"
	"github.com/seed31b3bfd0/slimgo/wire/ws"
)

// packs is a call that wants compression.
func packs() Call { return Call{Authority: "x", Offer: &Offer{Encoding: compress.Deflate}} }

// openPacked connects to a host that accepts, and has compression if it deflates. What is to be done beside the loop is
// done at once.
func (h *house) openPacked(deflates bool) *host {
	h.t.Helper()
	h.group.beside = func(f func()) { f() }
	v := h.callWS(packs())
	v.peer.Init(ws.Server, &ws.Settings{Path: "/", Deflate: deflates})
	v.exchange()
	v.exchange()
	v.g.want("answered")
	v.g.s.Established()
	return v
}

// deflated is a message of a server, compressed.
func deflated(t *testing.T, b []byte) []byte {
	t.Helper()
	return unmasked(0xc2, compressed(t, compress.Deflate, b)[envelope:])
}

// A node that dials offers permessage-deflate where it shall compress, and nowhere else. Rules: P-comp-1, P-comp-8.
func TestDiallersOfferCompression(t *testing.T) {
	const field = "\r\nSec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n"
	for name, tc := range map[string]struct {
		call Call
		opt  Options
		want bool
	}{
		"wanted":           {packs(), Options{}, true},
		"not wanted":       {Call{Authority: "x"}, Options{}, false},
		"the node has not": {packs(), Options{Plain: true}, false},
	} {
		got := string(build(t, tc.opt).callWS(tc.call).read())
		if strings.Contains(got, field) != tc.want || strings.Contains(got, "Extensions") != tc.want {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// Where both ends have agreed, what is long leaves compressed and masked, and what comes compressed is expanded, in order;
// where the host has not, everything is as without the offer. Rules: P-comp-3, P-comp-6, P-comp-8.
func TestDialledWebSocketsCompress(t *testing.T) {
	for _, deflates := range []bool{true, false} {
		h := build(t, Options{})
		v := h.openPacked(deflates)
		var x compress.Expander
		for _, n := range []int{10, 5000, 40_000, 100} {
			want := text(n)
			h.do(func() {
				if !v.g.put(want) {
					t.Errorf("%d bytes are not taken", n)
				}
			})
			v.exchange()
			packed := v.kind&ws.Deflated != 0
			if packed != (deflates && n >= compress.Least) {
				t.Errorf("deflates %v: %d bytes come compressed: %v", deflates, n, packed)
			}
			got := v.got
			if packed {
				var err error
				if got, err = x.Append(nil, compress.Deflate, v.got, n); err != nil || len(v.got) > n/5 {
					t.Errorf("%d bytes became %d: %v", n, len(v.got), err)
				}
			}
			if !bytes.Equal(got, want) {
				t.Errorf("deflates %v: something else than %d bytes", deflates, n)
			}
		}
		if !deflates {
			if h.group.Compresses() {
				t.Error("something was compressed for a host that does not take it")
			}
			continue
		}
		long := deflated(t, text(200_000)) // beside the loop; the rest waits for it
		v.write(slices.Concat(deflated(t, text(5000)), unmasked(0x82, text(7)), long, deflated(t, text(3000)), unmasked(0x82, text(8))))
		if got, want := v.g.lengths(), []int{5000, 7, 200_000, 3000, 8}; !slices.Equal(got, want) {
			t.Errorf("messages of %d bytes came, want %d", got, want)
		}
		if s := h.group.Tally(); s.PackedIn == 0 || s.PlainIn != 208_000 || s.PackedOut == 0 || h.group.Unfinished() != 0 {
			t.Errorf("%+v, %d bytes are not finished", s, h.group.Unfinished())
		}
	}
}

// A host whose compressed messages are none, or are bombs, or come though it has refused to compress, is left, and told
// why. Rules: P-comp-6, P-comp-8.
func TestHostileCompressedHosts(t *testing.T) {
	bomb := deflated(t, text(compress.Most))
	for _, tc := range []struct {
		name     string
		refuses  bool
		bytes    []byte
		last     string // the beginning of what the host hears
		end      Fault
		opt      Options
		received int
	}{
		{"a bomb", false, bomb, `close 1009 "`, FaultExpanded, Options{MaxWebSocket: compress.Most - 1}, 0},
		{"a short bomb", false, deflated(t, text(5000)), `close 1009 "`, FaultExpanded, Options{MaxWebSocket: 4999}, 0},
		{"garbage", false, unmasked(0xc2, noise(500)), `close 1007 "`, FaultExpand, Options{}, 0},
		{"much garbage", false, unmasked(0xc2, noise(50_000)), `close 1007 "`, FaultExpand, Options{}, 0},
		{"after a good one", false, slices.Concat(deflated(t, text(5000)), unmasked(0xc2, noise(50_000))), `close 1007 "`, FaultExpand, Options{}, 1},
		{"unasked", true, unmasked(0xc2, nil), `close 1002 "reserved bit set, without an extension"`, FaultWebSocket, Options{}, 0},
		{"another bit", false, unmasked(0xa2, nil), `close 1002 "reserved bit set, without an extension"`, FaultWebSocket, Options{}, 0},
		{"in a ping", false, unmasked(0xc9, nil), `close 1002 "reserved bit set, without an extension"`, FaultWebSocket, Options{}, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := build(t, tc.opt)
			v := h.openPacked(!tc.refuses)
			v.write(append(tc.bytes, unmasked(0x82, []byte("later"))...))
			if len(v.g.got) != tc.received || !v.g.over || v.g.s.Peer().End != tc.end.String() {
				t.Errorf("%d messages came through, over %v, the end is %q, want %v", len(v.g.got), v.g.over, v.g.s.Peer().End, tc.end)
			}
			v.exchange()
			if n := len(v.said); n == 0 || !strings.HasPrefix(v.said[n-1], tc.last) {
				t.Errorf("the node said %q, want %s", v.said, tc.last)
			}
			if h.pass(5, nil); !v.gone() || h.group.Unfinished() != 0 || h.panics != 0 {
				t.Errorf("the socket stays: %v; %d bytes are still counted; %d panics", !v.gone(), h.group.Unfinished(), h.panics)
			}
		})
	}
}

// An answer with parameters that were not offered, or without the one that was asked for, opens nothing: RFC 7692 section
// 5.1. Rules: P-ws-3.
func TestAnswersWithBadCompression(t *testing.T) {
	for answer, want := range map[string]string{
		"permessage-deflate":                                                       "parameters of permessage-deflate",
		"permessage-deflate; client_no_context_takeover":                           "parameters of permessage-deflate",
		"permessage-deflate; server_no_context_takeover; client_max_window_bits=9": "parameters of permessage-deflate",
		"permessage-deflate; server_no_context_takeover, permessage-deflate":       "extension that was not offered",
		"permessage-bzip2": "extension that was not offered",
	} {
		h := build(t, Options{})
		v := h.callWS(packs())
		v.peer.Init(ws.Server, &ws.Settings{Path: "/"})
		if err := v.peer.Feed(v.read(), v); err != nil {
			t.Fatal(err)
		}
		accept := bytes.Replace(v.peer.Control(), []byte("\r\n\r\n"), []byte("\r\nSec-WebSocket-Extensions: "+answer+"\r\n\r\n"), 1)
		v.write(accept)
		if v.g.want("closed"); !strings.Contains(v.g.s.Peer().End, want) || !v.gone() {
			t.Errorf("%s: the end is %q, want %q", answer, v.g.s.Peer().End, want)
		}
	}
}
