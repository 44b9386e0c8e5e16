package main

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/certs/certstest"
	"github.com/seed31b3bfd0/slimgo/internal/cli"
	"github.com/seed31b3bfd0/slimgo/session/uplink"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// rotationsOf is how many there are: CI takes more of them.
func rotationsOf(t *testing.T) int {
	s := os.Getenv("SLIMGO_TEST_ROTATIONS")
	if s == "" {
		return 5
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// secrets is a folder with certificates, replaced as Kubernetes does it: files are links to those below ..data, which is a
// link to a folder.
type secrets struct {
	t    *testing.T
	dir  string
	done int // replacements
}

func (s *secrets) replace(files map[string]string) {
	s.t.Helper()
	s.done++
	name := fmt.Sprintf("..%d", s.done)
	if err := os.Mkdir(filepath.Join(s.dir, name), 0o700); err != nil {
		s.t.Fatal(err)
	}
	certstest.Write(s.t, filepath.Join(s.dir, name), files)
	link := func(to, at string) {
		if err := os.Symlink(to, filepath.Join(s.dir, at)); err != nil {
			s.t.Fatal(err)
		}
	}
	link(name, "..tmp")
	if err := os.Rename(filepath.Join(s.dir, "..tmp"), filepath.Join(s.dir, "..data")); err != nil {
		s.t.Fatal(err)
	}
	if s.done == 1 {
		for file := range files {
			link(filepath.Join("..data", file), file)
		}
		return
	}
	if err := os.RemoveAll(filepath.Join(s.dir, fmt.Sprintf("..%d", s.done-1))); err != nil {
		s.t.Fatal(err)
	}
}

// party is an application that connects with some TLS to one endpoint. It checks that what it gets is numbered without a
// gap.
type party struct {
	*uplink.Conn
	mu    sync.Mutex
	next  uint64
	fault string
	news  chan struct{} // has room for one
}

func join(t *testing.T, addr string, c *tls.Config) *party {
	t.Helper()
	p := &party{news: make(chan struct{}, 1)}
	o := uplink.Options{TLS: c, Setup: hang, Handle: func(msgs [][]byte) {
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, m := range msgs {
			if n := binary.BigEndian.Uint64(m[len(m)-8:]); n != p.next && p.fault == "" {
				p.fault = fmt.Sprintf("message %d in the place of %d", n, p.next)
			}
			p.next++
		}
		select {
		case p.news <- struct{}{}:
		default:
		}
	}}
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	var err error
	if p.Conn, err = uplink.Dial(ctx, "https://"+addr, &o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Abort(); <-p.Done() })
	return p
}

// await waits until n messages have come.
func (p *party) await(t *testing.T, n uint64) {
	t.Helper()
	if err := p.reaches(n); err != nil {
		t.Fatal(err)
	}
}

func (p *party) reaches(n uint64) error {
	for limit := time.After(hang); ; {
		p.mu.Lock()
		got, fault := p.next, p.fault
		p.mu.Unlock()
		switch {
		case fault != "":
			return errors.New(fault)
		case got >= n:
			return nil
		}
		select {
		case <-p.news:
		case <-p.Done():
			return fmt.Errorf("its connection is over: %w", p.Err())
		case <-limit:
			return fmt.Errorf("%d messages of %d have come", got, n)
		}
	}
}

func (p *party) names(t *testing.T, name wire.NameText) {
	t.Helper()
	if _, err := p.Subscribe(t.Context(), &wire.PublishHeader{Source: name, Dest: name, Fanout: 1, TTL: 8, Version: "3.4.6"}); err != nil {
		t.Fatal(err)
	}
}

// say publishes the message of that number.
func (p *party) say(ctx context.Context, to wire.NameText, number uint64) error {
	payload := binary.BigEndian.AppendUint64(nil, number)
	app := append([]byte{0x12, byte(len(payload))}, payload...) // ApplicationPayload.blob in Content.app_payload
	content := append([]byte{0x0a, byte(len(app))}, app...)
	return p.Publish(ctx, &wire.PublishHeader{Source: to, Dest: to, Fanout: 1, TTL: 8, Version: "3.4.6"},
		[]byte{0x08, 0x01, 0x10, 0x01, 0x18, 0x07}, content)
}

// rotation is a node in a process of its own, with a listener of TLS and one of mutual TLS.
type rotation struct {
	t       *testing.T
	node    *process
	secrets *secrets
	addrs   [2]string      // TLS, mutual TLS
	clients [2]*tls.Config // that are good now
	round   int
}

// renew replaces certificate, key and both authorities, and waits until the node has them: by itself, or asked by a
// signal.
func (r *rotation) renew(ask bool) {
	r.t.Helper()
	r.round++
	nodes, apps := certstest.NewIssuer(r.t, "nodes", false), certstest.NewIssuer(r.t, "apps", r.round%2 == 0)
	name := fmt.Sprintf("node-%d", r.round)
	cert, key := nodes.Pair(name)
	r.secrets.replace(map[string]string{"cert.pem": cert, "key.pem": key, "clients.pem": apps.PEM})
	pool := nodes.Pool()
	r.clients[0] = &tls.Config{RootCAs: pool, ServerName: "localhost"}
	r.clients[1] = &tls.Config{RootCAs: pool, ServerName: "localhost", Certificates: []tls.Certificate{apps.TLS(certstest.Leaf("app"))}}
	if r.node == nil {
		return
	}
	if ask {
		r.signal()
	}
	for range r.addrs {
		r.node.line(r.t, "subject=CN="+name+" ")
	}
}

func (r *rotation) signal() {
	r.t.Helper()
	if err := r.node.Process.Signal(syscall.SIGHUP); err != nil {
		r.t.Fatal(err)
	}
}

// spoil replaces a file by one that is broken, and waits until the node has said so for both listeners.
func (r *rotation) spoil() {
	r.t.Helper()
	key := filepath.Join(r.secrets.dir, "..data", "key.pem")
	good, err := os.ReadFile(key)
	if err != nil {
		r.t.Fatal(err)
	}
	certstest.Write(r.t, filepath.Dir(key), map[string]string{"key.pem": "broken"})
	r.signal()
	for range r.addrs {
		if line := r.node.line(r.t, "certificates are not loaded: the old ones stay in use"); !strings.Contains(line, "tls.source.key: "+r.secrets.dir) {
			r.t.Errorf("the log says %s", line)
		}
	}
	r.meet()
	certstest.Write(r.t, filepath.Dir(key), map[string]string{"key.pem": string(good)})
}

// meet has two applications connect anew, one by TLS and one by mutual TLS, and one reach the other.
func (r *rotation) meet() {
	r.t.Helper()
	name := wire.Text("org", "ns", "visitor").WithID(7, uint64(r.round))
	a, b := join(r.t, r.addrs[0], r.clients[0]), join(r.t, r.addrs[1], r.clients[1])
	b.names(r.t, name)
	if err := a.say(r.t.Context(), name, 0); err != nil {
		r.t.Fatal(err)
	}
	b.await(r.t, 1)
	for _, p := range []*party{a, b} {
		if err := p.Close(r.t.Context()); err != nil {
			r.t.Error(err)
		}
	}
}

// Certificates, keys and authorities are replaced again and again while applications publish all the time: none of them
// loses a message or its connection, and each that connects anew is shown the new and has to be of the new. What is broken
// changes nothing.
func TestCertificatesRotateUnderLoad(t *testing.T) {
	t.Parallel() // it waits for most of its time
	heedHangups()
	rotations := rotationsOf(t)
	r := &rotation{t: t, secrets: &secrets{t: t, dir: t.TempDir()}}
	r.renew(false)
	first := r.clients
	r.node = launch(t, command(t, "--config", tlsConfig(t, r.secrets.dir, "false", "{"+files+"}", "{"+files+", "+clients+"}")))
	r.addrs[0] = r.node.addr
	_, r.addrs[1], _ = strings.Cut(strings.TrimSpace(r.node.line(t, "dataplane server started")), "endpoint=")

	var receivers, senders [2]*party
	var to [2]wire.NameText
	for i := range receivers {
		to[i] = wire.Text("org", "ns", "receiver").WithID(8, uint64(i))
		receivers[i], senders[i] = join(t, r.addrs[1-i], first[1-i]), join(t, r.addrs[i], first[i])
		receivers[i].names(t, to[i])
	}
	ctx, cancel := context.WithCancel(t.Context())
	var sent [2]uint64
	var sending sync.WaitGroup
	for i := range senders {
		sending.Go(func() {
			for ctx.Err() == nil {
				if err := senders[i].say(context.Background(), to[i], sent[i]); err != nil {
					t.Errorf("sender %d, message %d: %v", i, sent[i], err)
					return
				}
				sent[i]++
				if sent[i]%64 == 0 { // a pace that a busy machine keeps, and never nothing under way
					if err := receivers[i].reaches(sent[i] - 32); err != nil {
						t.Errorf("receiver %d: %v", i, err)
						return
					}
				}
			}
		})
	}
	for range rotations {
		r.renew(r.round%4 != 0)
		r.meet()
		if r.round%5 == 0 {
			r.spoil()
		}
	}
	if _, err := tls.Dial("tcp", r.addrs[0], first[0]); err == nil {
		t.Error("the first certificate is still shown")
	}
	cancel()
	sending.Wait()
	for i := range receivers {
		receivers[i].await(t, sent[i])
		if sent[i] < 10*uint64(rotations) {
			t.Errorf("sender %d has sent %d messages only: there was no load", i, sent[i])
		}
	}
	t.Logf("%d and %d messages, none lost", sent[0], sent[1])
	if code := r.node.stop(t); code != cli.ExitOK {
		t.Errorf("exit %d", code)
	}
}
