//go:build interop

package interop

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/seed31b3bfd0/slimgo/internal/chromium"
	"github.com/seed31b3bfd0/slimgo/session/uplink"
	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/pb"
)

// inPage is a page with the applications of peers/slim.mjs and peers/participant.mjs, and what a test asks of them.
const inPage = `<!doctype html><title>SLIM</title><link rel=icon href="data:,">
<script type=module>
import { Slim, name } from './slim.mjs';
import { Participant } from './participant.mjs';
const own = name('org/ns/page', 1n, 2n);
let slim;
window.enter = async (url) => {
	slim = await Slim.connect(url, 'page');
	await slim.subscribe(own);
	return { node: slim.node, extensions: slim.socket.extensions, protocol: slim.socket.protocol };
};
window.send = async (path, sizes) => {
	for (const [i, size] of sizes.entries()) await slim.publish(own, name(path), new TextEncoder().encode((i + ' ').padEnd(size, '.')));
};
window.receive = async (n) => ({ texts: (await slim.await(n)).map((x) => x.split(' ')[0] + ' ' + x.length), forged: slim.forged });
window.join = async (url) => { window.participant = await Participant.enter(url, 'org/ns/participant'); return 1; };
window.leave = () => slim.close();
window.knock = () => new Promise((done) => { new WebSocket(location.href.replace('http', 'ws')).onclose = () => done(1); });
</script>`

// A page speaks with an application: by WebSocket, from the origin that a browser names, with the compression that it
// offers if the node has it, and with a token in the query, as pages have no other place for it. The page signs the
// headers of what it sends, and checks those of what it gets. Rules: P-ws-1, P-ws-3, P-ws-5, P-comp-8.
func TestPageInChromiumSpeaksWithAnApplication(t *testing.T) {
	onBoth(t, func(t *testing.T, k kind) {
		const token = "eyJhbGciOiJub25lIn0.c2VjcmV0.page"
		deflate := map[kind]string{ours: "permessage-deflate; server_no_context_takeover; client_no_context_takeover"}[k]
		n, ways := startNodeOfAllWays(t, k)
		var asked http.Header // of a handshake that the page's own server has refused
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Upgrade") != "" {
				asked = r.Header
				w.WriteHeader(http.StatusForbidden)
				return
			}
			if r.URL.Path == "/" {
				w.Header().Set("Content-Type", "text/html")
				io.WriteString(w, inPage)
				return
			}
			http.ServeFile(w, r, filepath.Join("peers", filepath.Base(r.URL.Path)))
		}))
		defer s.Close()
		b := chromium.Launch(t)
		b.Open(s.URL)

		var seen struct{ Node, Extensions, Protocol string }
		b.Eval(fmt.Sprintf("enter(%q)", ways[1].endpoint+"?token="+token), &seen)
		if seen.Node != fmt.Sprintf("node-%d", n.port) || seen.Extensions != deflate || seen.Protocol != "" {
			t.Errorf("the page sees %+v", seen)
		}

		ctx, cancel := context.WithTimeout(t.Context(), 2*limit)
		defer cancel()
		a := n.uplink(t, uplink.Options{})
		own, page := wire.Text("org", "ns", "app").WithID(3, 4), wire.Text("org", "ns", "page").WithID(1, 2)
		header := func(dest wire.NameText) *wire.PublishHeader {
			return &wire.PublishHeader{Source: own, Dest: dest, Identity: "app", Version: uplink.Version, Fanout: 1, TTL: 8}
		}
		if _, err := a.Subscribe(ctx, header(own)); err != nil {
			t.Fatal(err)
		}
		sizes := []int{2, 125, 126, 1000, 65535, 65536, 1 << 20, 3 << 20}
		sent := make(chan error, 1)
		go func() { // beside what the page sends
			for i, size := range sizes {
				if err := a.Publish(ctx, header(page), someSession, content(t, numberedText(i, size))); err != nil {
					sent <- err
					return
				}
			}
			sent <- nil
		}()
		b.Eval(fmt.Sprintf("send('org/ns/app', %s).then(() => 1)", strings.Join(strings.Fields(fmt.Sprint(sizes)), ",")), new(int))
		for i, size := range sizes {
			msg, err := a.Receive(ctx)
			if err != nil {
				t.Fatalf("message %d of the page: %v", i, err)
			}
			var m pb.Message
			if err := proto.Unmarshal(msg, &m); err != nil {
				t.Fatal(err)
			}
			p := m.GetPublish()
			if got := p.GetMsg().GetAppPayload().GetBlob(); string(got) != numberedText(i, size) || textOf(p.GetHeader().GetSource()) != "org/ns/page" {
				t.Errorf("message %d of the page: %d bytes from %s", i, len(got), textOf(p.GetHeader().GetSource()))
			}
		}
		if s := a.Stats(); s.Unauthentic+s.Invalid+s.Discarded != 0 {
			t.Errorf("%+v", s)
		}
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
		var got struct {
			Texts  []string
			Forged int
		}
		b.Eval(fmt.Sprintf("receive(%d)", len(sizes)), &got)
		for i, size := range sizes {
			if want := fmt.Sprint(i, " ", size); got.Texts[i] != want {
				t.Errorf("message %d at the page: %s, want %s", i, got.Texts[i], want)
			}
		}
		if len(got.Texts) != len(sizes) || got.Forged > 0 {
			t.Errorf("the page got %d messages, want %d; %d with a wrong MAC", len(got.Texts), len(sizes), got.Forged)
		}

		var end struct{ Code int }
		if b.Eval("leave()", &end); end.Code != 1000 {
			t.Errorf("the page sees the end as %d", end.Code)
		}
		// In a session that an application in Python opens. The page's id is not made of its identity, which is for
		// those to mind who enforce that.
		n.binding = "warn"
		b.Eval(fmt.Sprintf("join(%q)", ways[1].endpoint), new(int))
		py := n.script(t, &python, "org/ns/python")
		py.do(t, event{"open": "org/ns/participant"})
		py.do(t, event{"publish": "to the page", "count": 50})
		py.receives(t, series("echo:to the page", 50)...)
		var heard []string
		if b.Eval("participant.heard", &heard); !slices.Equal(heard, series("to the page", 50)) {
			t.Errorf("the page has heard %q", heard)
		}
		py.do(t, event{"close": true})
		py.receivedNothing(t)

		for _, x := range b.Noise() {
			t.Errorf("the console says %s", x)
		}
		if k == ours && n.count(token) > 0 {
			t.Error("the token is in the log")
		}

		// What the browser has asked the node for as well.
		b.Eval("knock()", new(int))
		if x := asked.Get("Sec-Websocket-Extensions"); !strings.HasPrefix(x, "permessage-deflate") || asked.Get("Origin") != s.URL {
			t.Errorf("the browser offers %q from the origin %q", x, asked.Get("Origin"))
		}
	})
}

// numberedText is a number and a space, filled with dots up to size bytes.
func numberedText(i, size int) string {
	s := fmt.Sprint(i, " ")
	return s + strings.Repeat(".", max(0, size-len(s)))
}

// content is an application's payload as a publish has it.
func content(t *testing.T, text string) []byte {
	b, err := proto.Marshal(&pb.Content{ContentType: &pb.Content_AppPayload{AppPayload: &pb.ApplicationPayload{PayloadType: "msg", Blob: []byte(text)}}})
	if err != nil {
		t.Error(err)
	}
	return b
}
