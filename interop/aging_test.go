//go:build interop

package interop

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// startAging starts a node whose connections have an age of ten seconds, all on one loop.
func startAging(t *testing.T, k kind) *node {
	t.Helper()
	n := &node{kind: k, port: freePort(t), config: filepath.Join(t.TempDir(), "node.yaml"), binding: "enforce"}
	text := strings.Replace(nodeConfig(n.port, nil), "runtime:\n", "runtime:\n  n_cores: 1\n", 1)
	text += "          keepalive: {max_connection_age: 10s}\n"
	if err := os.WriteFile(n.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	n.start(t)
	return n
}

// An application whose connection has reached max_connection_age stays on it, and has sessions as before. Rules: P-tr-10.
func TestApplicationsOutliveTheAgeOfTheirConnection(t *testing.T) {
	t.Parallel()
	n := startAging(t, ours)
	b := n.app(t, "echo", bob, watched...)
	// Who comes later hears of its age no earlier.
	c, err := net.Dial("tcp", n.address())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(2 * limit))
	f := http2.NewFramer(c, c)
	if _, err := io.WriteString(c, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	if err := f.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	for aged := false; !aged; {
		frame, err := f.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if g, ok := frame.(*http2.GoAwayFrame); ok {
			if aged = true; string(g.DebugData()) != "max_connection_age" || g.ErrCode != http2.ErrCodeNo {
				t.Errorf("the node says %v %q", g.ErrCode, g.DebugData())
			}
		}
	}
	wantAnswers(t, n.run(t, "send", alice, sendArgs(bob, 50, true)...), 50)
	wantSession(t, b, 50)
	if n := b.count(reconnected); n != 0 {
		t.Errorf("it has reconnected %d times", n)
	}
	b.quit(t)
}

// Upstream's node cuts what has reached its age, and our node, which has dialled it, comes back.
func TestLinkOutlivesTheAgeOfItsConnection(t *testing.T) {
	t.Parallel()
	rust := startAging(t, upstream)
	n := startNode(t, ours, rust.link("peer"))
	n.expectLine(t, "client connected", 0)
	if !n.await(3*limit, func() bool { return countLines(n.lines, "link is lost") > 0 }) {
		t.Fatal("the link stays")
	}
	n.expectLine(t, "client connected", 1)
	if n.count("link is over")+n.count("link is given up") > 0 {
		t.Error(fmt.Sprint("the link is not opened again:\n", n.tail()))
	}
}
