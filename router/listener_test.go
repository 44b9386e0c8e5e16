package router

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed31b3bfd0/slimgo/wire/h2"
)

// childEnv makes the test binary a node with few descriptors: see child.
const childEnv = "SLIMGO_TEST_SPARE_DESCRIPTORS"

// child is a process of its own that listens with as many endpoints as its arguments say, prints the address of the
// first, and then has only so many descriptors to spare as childEnv says, until its input ends. Its log is its output, too.
func child(spare string) int {
	fail := func(err error) int { fmt.Println("error:", err); return 1 }
	n, err := strconv.Atoi(spare)
	if err != nil {
		return fail(err)
	}
	set := func(limit int) error {
		return unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(limit), Max: 1024})
	}
	if err := set(1024); err != nil {
		return fail(err)
	}
	o := Options{Loops: 1, Log: slog.New(slog.NewTextHandler(os.Stdout, nil))}
	for range 100 {
		o.Listen = append(o.Listen, "127.0.0.1:0")
	}
	node, err := Start(context.Background(), o)
	if err != nil {
		return fail(err)
	}
	next, err := unix.Dup(0) // the lowest that is free
	if err != nil {
		return fail(err)
	}
	_ = unix.Close(next)
	if err := set(next + n); err != nil {
		return fail(err)
	}
	fmt.Println("listening", node.Addrs()[0])
	_, _ = io.Copy(io.Discard, os.Stdin)
	ctx, cancel := context.WithTimeout(context.Background(), hang)
	defer cancel()
	if err := node.Shutdown(ctx); err != nil {
		return fail(err)
	}
	fmt.Println("over")
	return 0
}

// Rules: P-end-1.
func TestWithoutDescriptorsClientsWait(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), childEnv+"=12")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	lines := bufio.NewScanner(out)
	wantLine := func(what string) string {
		t.Helper()
		for lines.Scan() {
			if strings.Contains(lines.Text(), what) {
				return lines.Text()
			}
			if strings.Contains(lines.Text(), "error:") {
				break
			}
		}
		t.Fatalf("the node says %q instead of %q", lines.Text(), what)
		return ""
	}
	addr := strings.Fields(wantLine("listening"))[1] // with more than 64 endpoints

	var clients []net.Conn
	for range 40 {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		var cli h2.Conn
		cli.Init(h2.Client, nil)
		if _, err := c.Write(cli.Control()); err != nil {
			t.Fatal(err)
		}
		clients = append(clients, c)
	}
	wantLine("cannot accept a connection")
	said := time.Now()
	for i, c := range clients { // in the order in which they came; each makes room for another
		_ = c.SetReadDeadline(time.Now().Add(hang))
		if _, err := c.Read(make([]byte, 1)); err != nil {
			t.Fatalf("client %d: %v", i, err)
		}
		_ = c.Close()
	}
	_ = in.Close()
	for lines.Scan() && lines.Text() != "over" {
		if strings.Contains(lines.Text(), "cannot accept") && time.Since(said) < time.Minute {
			t.Errorf("said twice: %s", lines.Text())
		}
	}
}

// port returns a TCP port nobody listens on.
func port(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	_, p, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Rules: P-conf-21.
func TestEndpointsListenOnTheFamilyTheySay(t *testing.T) {
	for _, c := range []struct {
		name             string
		hosts            []string
		reached, refused []string
	}{
		{"any IPv4", []string{"0.0.0.0"}, []string{"127.0.0.1"}, []string{"::1"}},
		{"one IPv4", []string{"127.0.0.1"}, []string{"127.0.0.1"}, []string{"::1"}},
		{"one IPv6", []string{"[::1]"}, []string{"::1"}, []string{"127.0.0.1"}},
		{"any", []string{"[::]"}, []string{"127.0.0.1", "::1"}, nil},
		{"any IPv4 beside one IPv6", []string{"0.0.0.0", "[::1]"}, []string{"127.0.0.1", "::1"}, nil},
		{"any IPv4 beside any", []string{"0.0.0.0", "[::]"}, []string{"127.0.0.1", "::1"}, nil},
		{"any beside any IPv4", []string{"[::]", "0.0.0.0"}, []string{"127.0.0.1", "::1"}, nil},
		{"any beside one IPv4", []string{"[::]", "127.0.0.1"}, []string{"127.0.0.1", "::1"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			var p string
			var n *Node
			err := error(syscall.EADDRINUSE)
			for range 20 { // another process may take the port meanwhile
				var o Options
				p = port(t)
				for _, h := range c.hosts {
					o.Listen = append(o.Listen, h+":"+p)
				}
				if n, err = Start(t.Context(), o); !errors.Is(err, syscall.EADDRINUSE) {
					break
				}
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, h := range c.reached {
				conn, err := net.Dial("tcp", net.JoinHostPort(h, p))
				if err != nil {
					t.Errorf("%s: %v", h, err)
					continue
				}
				_ = conn.Close()
			}
			for _, h := range c.refused {
				if _, err := net.Dial("tcp", net.JoinHostPort(h, p)); !errors.Is(err, syscall.ECONNREFUSED) {
					t.Errorf("%s: %v, want a refusal", h, err)
				}
			}
			if err := n.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestListenErrorSaysWhichEndpoint(t *testing.T) {
	n := start(t, Options{})
	taken := n.Addrs()[0].String()
	before := descriptors(t)
	_, err := Start(t.Context(), Options{Listen: []string{"127.0.0.1:0", taken, "127.0.0.1:0"}})
	var le *ListenError
	if !errors.As(err, &le) || le.Index != 1 || le.Addr != taken || !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("err = %#v", err)
	}
	until(t, "no descriptor is left", func() bool { return descriptors(t) <= before }) // the node looks at times whether one is free
}
