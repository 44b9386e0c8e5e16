package main

import (
	"bufio"
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/router"
)

// terminal is where one types, and reads.
type terminal struct {
	t    *testing.T
	in   io.WriteCloser
	out  *bufio.Scanner
	done chan error
}

func start(ctx context.Context, t *testing.T, node string, args ...string) *terminal {
	env := func(name string) string {
		return map[string]string{"SLIM_SECRET": "a secret of all, 32 bytes or more", "SLIM_ADDR": node}[name]
	}
	in, typed := io.Pipe()
	printed, out := io.Pipe()
	term := &terminal{t: t, in: typed, out: bufio.NewScanner(printed), done: make(chan error, 1)}
	go func() {
		term.done <- run(ctx, args, env, in, out)
		_ = out.Close()
	}()
	return term
}

// shows reads until a line has this text.
func (term *terminal) shows(text string) {
	term.t.Helper()
	for term.out.Scan() {
		if strings.Contains(term.out.Text(), text) {
			return
		}
	}
	term.t.Fatalf("%q is not shown: %v", text, <-term.done)
}

func (term *terminal) types(lines string) {
	term.t.Helper()
	if _, err := io.WriteString(term.in, lines+"\n"); err != nil {
		term.t.Fatal(err)
	}
}

func (term *terminal) ends() {
	term.t.Helper()
	go func() {
		for term.out.Scan() {
			continue
		}
	}()
	_ = term.in.Close()
	if err := <-term.done; err != nil {
		term.t.Error(err)
	}
}

func TestChat(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	n, err := router.Start(ctx, router.Options{Listen: []string{"127.0.0.1:0"}, NodeID: "example"})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Shutdown(ctx)
	node := n.Addrs()[0].String()
	bob, carol := start(ctx, t, node, "-name", "org/demo/bob"), start(ctx, t, node, "-name", "org/demo/carol")
	for n.Stats().Names < 2 && ctx.Err() == nil { // else alice asks for bob a second later
		time.Sleep(time.Millisecond)
	}
	alice := start(ctx, t, node, "-name", "org/demo/alice", "-channel", "org/demo/chat", "org/demo/bob")
	bob.shows("org/demo/alice has invited to org/demo/chat")
	alice.shows("org/demo/bob has come")
	alice.types("hello, bob")
	bob.shows("org/demo/alice: hello, bob")
	alice.types("/invite org/demo/carol")
	carol.shows("has invited")
	bob.shows("org/demo/carol has come")
	carol.types("hi")
	bob.shows("org/demo/carol: hi")
	alice.shows("org/demo/carol: hi")
	alice.types("/remove org/demo/bob")
	bob.shows("the chat is over")
	alice.types("/who")
	alice.shows("org/demo/carol, online: true")
	alice.types("/quit")
	carol.shows("the chat is over")
	for _, term := range []*terminal{alice, bob, carol} {
		term.ends()
	}
}
