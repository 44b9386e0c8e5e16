package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/router"
	"github.com/seed31b3bfd0/slimgo/session"
)

// rig is a node and a receiver of files.
type rig struct {
	ctx   context.Context
	node  string
	inbox string
	ended chan error
}

func newRig(t *testing.T, files string, args ...string) *rig {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	n, err := router.Start(ctx, router.Options{Listen: []string{"127.0.0.1:0"}, NodeID: "example"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Shutdown(ctx) })
	r := &rig{ctx: ctx, node: n.Addrs()[0].String(), inbox: t.TempDir(), ended: make(chan error, 1)}
	args = append([]string{"-name", "org/demo/bob", "-dir", r.inbox, "-count", files}, args...)
	go func() { r.ended <- run(ctx, args, r.env, io.Discard) }()
	for n.Stats().Names == 0 && ctx.Err() == nil { // else who sends asks for bob a second later
		time.Sleep(time.Millisecond)
	}
	return r
}

func (r *rig) env(name string) string {
	return map[string]string{"SLIM_SECRET": "a secret of both, 32 bytes or more", "SLIM_ADDR": r.node}[name]
}

// ends waits until the receiver has ended.
func (r *rig) ends(t *testing.T) {
	t.Helper()
	if err := <-r.ended; err != nil {
		t.Error(err)
	}
}

// received returns the names of what lies in the inbox.
func (r *rig) received(t *testing.T) string {
	t.Helper()
	all, err := os.ReadDir(r.inbox)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range all {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

func file(t *testing.T, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFiles(t *testing.T) {
	r := newRig(t, "2")
	want := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	var out bytes.Buffer
	paths := []string{file(t, "a.bin", want), file(t, "empty", nil)}
	if err := run(r.ctx, append([]string{"-name", "org/demo/alice", "-to", "org/demo/bob"}, paths...), r.env, &out); err != nil {
		t.Fatal(err)
	}
	r.ends(t)
	if names := r.received(t); names != "a.bin empty" {
		t.Errorf("received %q", names)
	}
	if got, err := os.ReadFile(filepath.Join(r.inbox, "a.bin")); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, want %d: %v", len(got), len(want), err)
	}
	if !strings.HasPrefix(out.String(), "sending a.bin: 10 %\n") || !strings.HasSuffix(out.String(), "sending a.bin: 100 %\n") {
		t.Errorf("%q", &out)
	}
}

// What is refused leaves nothing behind, and its sender is told why.
func TestRefusedFiles(t *testing.T) {
	r := newRig(t, "2", "-most", "1000")
	for _, c := range []struct{ name, content, want string }{
		{"large", strings.Repeat("x", 1001), "org/demo/bob: 1001 bytes, and files may have 1000"},
		{"there", "new", "org/demo/bob: there is a file there"},
	} {
		if c.name == "there" {
			if err := os.WriteFile(filepath.Join(r.inbox, c.name), []byte("old"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		err := run(r.ctx, []string{"-name", "org/demo/alice", "-to", "org/demo/bob", file(t, c.name, []byte(c.content))}, r.env, io.Discard)
		if err == nil || !strings.HasSuffix(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
	}
	r.ends(t)
	if names := r.received(t); names != "there" {
		t.Errorf("received %q", names)
	}
}

// A sender that lies gets nowhere.
func TestLies(t *testing.T) {
	lies := []struct {
		said []session.Content
		want string
	}{
		{[]session.Content{{Data: []byte(`{"name":"../up","size":1}`)}}, `"../up" is no name of a file`},
		{[]session.Content{{Data: []byte(`{"name":"..","size":1}`)}}, `".." is no name of a file`},
		{[]session.Content{{Data: []byte(`{"name":"a","size":-1}`)}}, "-1 bytes"},
		{[]session.Content{{Data: []byte("hello")}}, "not understood"},
		{[]session.Content{{Data: []byte(`{"name":"a","size":1}`)}, {Data: []byte("too much"), Type: "application/octet-stream"}}, "8 bytes"},
		{[]session.Content{{Data: []byte(`{"name":"a","size":1}`)}, {Data: []byte("a")}}, "1 bytes of msg"},
		{[]session.Content{{Data: []byte(`{"name":"a","size":1}`)}, {Data: []byte("a"), Type: "application/octet-stream"},
			{Data: []byte(`{"sha256":"aaaa"}`)}}, "not what the sender has read"},
	}
	r := newRig(t, "7")
	app, err := session.Connect(r.ctx, session.Options{
		Name: session.MustName("org/demo/alice"), Secret: []byte(r.env("SLIM_SECRET")), Nodes: []string{r.node},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer app.Close(r.ctx)
	for _, lie := range lies {
		s, err := app.Open(r.ctx, session.MustName("org/demo/bob"), session.SessionOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range lie.said {
			if _, err := s.Publish(r.ctx, c); err != nil {
				t.Fatal(err)
			}
		}
		m, err := s.Receive(r.ctx)
		if err != nil {
			t.Fatalf("%s: %v", lie.want, err)
		}
		if !strings.Contains(string(m.Data), strings.ReplaceAll(lie.want, `"`, `\"`)) {
			t.Errorf("%s, want %s", m.Data, lie.want)
		}
		if err := s.Close(r.ctx); err != nil {
			t.Error(err)
		}
	}
	r.ends(t)
	if names := r.received(t); names != "" {
		t.Errorf("received %q", names)
	}
}
