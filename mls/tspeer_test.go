//go:build interop

package mls

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	tsName       = "ts-mls-1.6.4" // as testdata/ts/package.json pins it
	tsInstalling = 3 * time.Minute
	tsAnswering  = 3 * time.Minute // a busy machine takes its time
)

// tsLibrary is the path of the package's index.js. The first call installs it into the user's cache folder, as
// package interop does.
func tsLibrary(t *testing.T) string {
	t.Helper()
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("install Node.js 20.19 or later, with npm: %v", err)
		}
	}
	dir, err := tsInstalled(t.Context())
	if err != nil {
		t.Fatalf("install %s: %v", tsName, err)
	}
	return filepath.Join(dir, "node_modules/ts-mls/dist/src/index.js")
}

// tsInstalled returns the folder of the installation. The marker, a copy of the pins, is written last, so that an
// interrupted installation is begun anew.
func tsInstalled(ctx context.Context) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	root := filepath.Join(cache, "slimgo-interop")
	dir := filepath.Join(root, tsName)
	if err := os.MkdirAll(root, 0o755); err != nil {
		return "", err
	}
	// Another run may be installing.
	lock, err := os.OpenFile(filepath.Join(root, tsName+".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", err
	}
	pins, err := os.ReadFile("testdata/ts/package.json")
	if err != nil {
		return "", err
	}
	marker := filepath.Join(dir, "installed")
	if have, err := os.ReadFile(marker); err == nil && bytes.Equal(have, pins) {
		return dir, nil
	}
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(dir, "package.json"), pins, 0o600); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, tsInstalling)
	defer cancel()
	npm := exec.CommandContext(ctx, "npm", "install", "--omit=optional", "--ignore-scripts", "--no-package-lock", "--no-audit", "--no-fund")
	npm.Dir = dir
	npm.WaitDelay = time.Minute
	if out, err := npm.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%v: %w\n%s", npm.Args, err, out)
	}
	return dir, os.WriteFile(marker, pins, 0o600)
}

// octets are bytes in hexadecimal on their way to the peer; hex is the way back.
type octets []byte

func (o octets) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%x", []byte(o)), nil }

type tsRequest struct {
	Op         string          `json:"op"`
	Who        string          `json:"who"`
	Suite      CipherSuite     `json:"suite,omitempty"`
	Encrypt    bool            `json:"encrypt,omitempty"`
	Name       string          `json:"name,omitempty"`
	KeysOf     string          `json:"keysOf,omitempty"`
	Extensions []ExtensionType `json:"extensions,omitempty"`
	Proposals  []tsProposal    `json:"proposals,omitempty"`
	Message    octets          `json:"message,omitempty"`
	Text       octets          `json:"text,omitempty"`
	AAD        octets          `json:"aad,omitempty"`
}

// tsProposal is a wish, as the peer takes it.
type tsProposal struct {
	KeyPackage octets        `json:"keyPackage,omitempty"`
	Remove     string        `json:"remove,omitempty"`
	PSK        string        `json:"psk,omitempty"`
	Epoch      uint64        `json:"epoch"`
	Extensions []tsExtension `json:"extensions,omitempty"`
	Update     bool          `json:"update,omitempty"`
}

type tsExtension struct {
	Type ExtensionType `json:"type"`
	Data octets        `json:"data"`
}

type tsAnswer struct {
	Message       hex    `json:"message"`
	Welcome       hex    `json:"welcome"`
	Text          hex    `json:"text"`
	AAD           hex    `json:"aad"`
	Removed       bool   `json:"removed"`
	Epoch         uint64 `json:"epoch"`
	Authenticator hex    `json:"authenticator"`
	Exported      hex    `json:"exported"`
}

// tsPeer is a process of testdata/ts/peer.mjs.
type tsPeer struct {
	t       *testing.T // that has it now
	cmd     *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Reader
	stderr  bytes.Buffer // to be read when it has ended
	dead    error
	calls   map[string]int // by operation
	clients int            // made so far
}

func startTS(t *testing.T, library string) *tsPeer {
	t.Helper()
	cmd := exec.Command("node", "testdata/ts/peer.mjs")
	cmd.Env = append(os.Environ(), "TS_MLS="+library)
	return startPeer(t, cmd)
}

// startPeer starts a program that is driven as that of testdata/ts.
func startPeer(t *testing.T, cmd *exec.Cmd) *tsPeer {
	t.Helper()
	p := &tsPeer{t: t, cmd: cmd, calls: map[string]int{}}
	p.cmd.Stderr = &p.stderr
	p.in = must[io.WriteCloser](t)(p.cmd.StdinPipe())
	p.out = bufio.NewReader(must[io.ReadCloser](t)(p.cmd.StdoutPipe()))
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if p.dead != nil {
			return
		}
		if err := p.end(); err != nil {
			t.Errorf("%v: %v\n%s", p.cmd.Args, err, &p.stderr)
		}
	})
	return p
}

// end lets the process end, which it does with its input.
func (p *tsPeer) end() error {
	timer := time.AfterFunc(tsAnswering, func() { p.cmd.Process.Kill() })
	defer timer.Stop()
	p.in.Close()
	return p.cmd.Wait()
}

func (p *tsPeer) call(q *tsRequest) (*tsAnswer, error) {
	if p.dead != nil {
		return nil, p.dead
	}
	p.calls[q.Op]++
	line, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	timer := time.AfterFunc(tsAnswering, func() { p.cmd.Process.Kill() })
	defer timer.Stop()
	if _, err = p.in.Write(append(line, '\n')); err == nil {
		line, err = p.out.ReadBytes('\n')
	}
	if err != nil {
		err = errors.Join(err, p.end())
		p.dead = fmt.Errorf("%s of %s: %v gives no answer: %w\n%s", q.Op, q.Who, p.cmd.Args, err, &p.stderr)
		return nil, p.dead
	}
	var reply struct {
		OK    *tsAnswer `json:"ok"`
		Error string    `json:"error"`
	}
	switch err := json.Unmarshal(line, &reply); {
	case err != nil:
		return nil, fmt.Errorf("%s of %s: answer %q: %w", q.Op, q.Who, line, err)
	case reply.OK == nil:
		return nil, fmt.Errorf("%s of %s: %s", q.Op, q.Who, reply.Error)
	}
	return reply.OK, nil
}

// typescript is a member of ts-mls.
type typescript struct {
	id     string // of the peer's
	client client
	peer   *tsPeer
}

// tsPeers are processes for histories one after another: each takes a second of a processor until its code is compiled.
type tsPeers struct {
	t       *testing.T // outlasts those that have one
	library string
	mu      sync.Mutex
	idle    []*tsPeer
}

// take gives t a process that knows no clients, until t ends.
func (all *tsPeers) take(t *testing.T) *tsPeer {
	t.Helper()
	all.mu.Lock()
	defer all.mu.Unlock()
	var p *tsPeer
	if n := len(all.idle); n > 0 {
		p, all.idle = all.idle[n-1], all.idle[:n-1]
	} else {
		p = startTS(all.t, all.library)
	}
	p.t, p.calls = t, map[string]int{}
	t.Cleanup(func() {
		if _, err := p.call(&tsRequest{Op: "forget"}); err != nil { // dead, and the history has failed of that
			return
		}
		all.mu.Lock()
		defer all.mu.Unlock()
		all.idle = append(all.idle, p)
	})
	return p
}

func newTypescript(p *tsPeer, cs CipherSuite, c client, encrypt bool) (*typescript, error) {
	p.clients++
	o := &typescript{id: fmt.Sprintf("%s as %d", c.name, p.clients), client: c, peer: p}
	q := &tsRequest{Op: "client", Name: c.name, Suite: cs, Encrypt: encrypt}
	if c.keys != nil {
		q.KeysOf = c.keys.(*typescript).id
	}
	if c.modern {
		q.Extensions = []ExtensionType{theExtension}
	}
	_, err := o.call(q)
	return o, err
}

func (o *typescript) traits() traits {
	return traits{plain: !o.client.modern, noUpdates: true, noExtensions: true, oldRules: true, whole: true, blind: true}
}

// call returns an answer also with an error, for the sake of short callers.
func (o *typescript) call(q *tsRequest) (*tsAnswer, error) {
	q.Who = o.id
	a, err := o.peer.call(q)
	if a == nil {
		a = &tsAnswer{}
	}
	return a, err
}

func (o *typescript) message(q *tsRequest) ([]byte, error) {
	a, err := o.call(q)
	return a.Message, err
}

func (o *typescript) name() string { return o.client.name }

func (o *typescript) keyPackage() []byte {
	b, err := o.message(&tsRequest{Op: "keyPackage"})
	if err != nil {
		o.peer.t.Fatal(err)
	}
	return b
}

func (o *typescript) create(id []byte) error {
	_, err := o.call(&tsRequest{Op: "create", Message: id})
	return err
}

func (o *typescript) join(welcome []byte) error {
	_, err := o.call(&tsRequest{Op: "join", Message: welcome})
	return err
}

func (o *typescript) proposals(wishes []wish) (list []tsProposal) {
	for _, w := range wishes {
		p := tsProposal{KeyPackage: w.keyPackage, Remove: w.member, PSK: w.key, Epoch: w.epoch, Update: w.kind == ProposalUpdate}
		for _, e := range w.extensions {
			p.Extensions = append(p.Extensions, tsExtension{e.Type, e.Data})
		}
		list = append(list, p)
	}
	return list
}

func (o *typescript) propose(w wish) ([]byte, error) {
	return o.message(&tsRequest{Op: "propose", Proposals: o.proposals([]wish{w})})
}

func (o *typescript) commit(values ...wish) (commit, welcome []byte, err error) {
	a, err := o.call(&tsRequest{Op: "commit", Proposals: o.proposals(values)})
	return a.Message, a.Welcome, err
}

func (o *typescript) leave(commit []byte) error {
	a, err := o.call(&tsRequest{Op: "take", Message: commit})
	if err != nil {
		return err
	}
	if !a.Removed {
		return errors.New("is in the group still")
	}
	return nil
}

func (o *typescript) learn(id string, key []byte) error {
	_, err := o.call(&tsRequest{Op: "learn", Name: id, Message: key})
	return err
}

func (o *typescript) take(msg []byte) error {
	_, err := o.call(&tsRequest{Op: "take", Message: msg})
	return err
}

func (o *typescript) send(text, aad []byte) ([]byte, error) {
	return o.message(&tsRequest{Op: "send", Text: text, AAD: aad})
}

func (o *typescript) read(msg []byte) (text, aad []byte, err error) {
	a, err := o.call(&tsRequest{Op: "read", Message: msg})
	return a.Text, a.AAD, err
}

func (o *typescript) info() ([]byte, error) { return o.message(&tsRequest{Op: "info"}) }

func (o *typescript) joinExternal(info []byte) (commit []byte, err error) {
	return o.message(&tsRequest{Op: "joinExternal", Message: info})
}

func (o *typescript) state() (epoch uint64, authenticator, exported []byte, err error) {
	a, err := o.call(&tsRequest{Op: "state"})
	return a.Epoch, a.Authenticator, a.Exported, err
}
