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
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/mls/internal/suite"
	"github.com/seed31b3bfd0/slimgo/mls/internal/treemath"
)

const (
	tsName       = "ts-mls-1.6.4" // as testdata/ts/package.json pins it
	tsInstalling = 3 * time.Minute
	tsAnswering  = 30 * time.Second
)

// tsLibrary is the path of the package's index.js. The first call installs it into the user's cache folder, as package interop does.
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

// tsInstalled returns the folder of the installation. The marker, a copy of the pins, is written last, so that an interrupted
// installation is begun anew.
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
	npm.WaitDelay = time.Second
	if out, err := npm.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%v: %w\n%s", npm.Args, err, out)
	}
	return dir, os.WriteFile(marker, pins, 0o600)
}

// octets are bytes in hexadecimal on their way to the peer; hex is the way back.
type octets []byte

func (o octets) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%x", []byte(o)), nil }

type tsRequest struct {
	Op       string      `json:"op"`
	Who      string      `json:"who"`
	Suite    CipherSuite `json:"suite,omitempty"`
	Encrypt  bool        `json:"encrypt,omitempty"`
	Name     string      `json:"name,omitempty"`
	Packages []octets    `json:"packages,omitempty"`
	Message  octets      `json:"message,omitempty"`
	Text     octets      `json:"text,omitempty"`
	AAD      octets      `json:"aad,omitempty"`
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
	t      *testing.T
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	stderr bytes.Buffer // to be read when it has ended
	dead   error
	calls  map[string]int // by operation
}

func startTS(t *testing.T, library string) *tsPeer {
	t.Helper()
	p := &tsPeer{t: t, cmd: exec.Command("node", "testdata/ts/peer.mjs"), calls: map[string]int{}}
	p.cmd.Env = append(os.Environ(), "TS_MLS="+library)
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
	id   string
	peer *tsPeer
}

func newTypescript(p *tsPeer, cs CipherSuite, name string, encrypt bool) (*typescript, error) {
	o := &typescript{id: name, peer: p}
	_, err := o.call(&tsRequest{Op: "client", Suite: cs, Encrypt: encrypt})
	return o, err
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

func (o *typescript) name() string { return o.id }

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

func (o *typescript) add(keyPackages [][]byte) (commit, welcome []byte, err error) {
	q := &tsRequest{Op: "add"}
	for _, k := range keyPackages {
		q.Packages = append(q.Packages, k)
	}
	a, err := o.call(q)
	return a.Message, a.Welcome, err
}

func (o *typescript) remove(name string) ([]byte, error) {
	return o.message(&tsRequest{Op: "remove", Name: name})
}

func (o *typescript) refresh() ([]byte, error) {
	return o.message(&tsRequest{Op: "commitPending"})
}

func (o *typescript) proposeRemove(name string) ([]byte, error) {
	return o.message(&tsRequest{Op: "proposeRemove", Name: name})
}

func (o *typescript) proposeAdd(keyPackage []byte) ([]byte, error) {
	return o.message(&tsRequest{Op: "proposeAdd", Packages: []octets{keyPackage}})
}

func (o *typescript) proposePSK() ([]byte, error) {
	return o.message(&tsRequest{Op: "proposeResumptionPSK"})
}

func (o *typescript) commitPending() (commit, welcome []byte, err error) {
	a, err := o.call(&tsRequest{Op: "commitPending"})
	return a.Message, a.Welcome, err
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

// learn gives a member an external pre-shared key.
func learn(m member, id string, key []byte) error {
	switch m := m.(type) {
	case *ours:
		m.psks[id] = key
	case *typescript:
		_, err := m.call(&tsRequest{Op: "learn", Name: id, Message: key})
		return err
	}
	return nil
}

func proposeExternalPSK(m member, id string) ([]byte, error) {
	switch m := m.(type) {
	case *ours:
		p, err := m.group.NewPSK([]byte(id))
		if err != nil {
			return nil, err
		}
		return m.group.Propose(p, nil)
	case *typescript:
		return m.message(&tsRequest{Op: "proposeExternalPSK", Name: id})
	}
	return nil, fmt.Errorf("%T knows no external keys", m)
}

// leave lets a member take the commit that removes it.
func leave(m member, commit []byte) error {
	switch m := m.(type) {
	case *ours:
		if err := m.take(commit); err != nil {
			return err
		}
		if m.group.Active() {
			return errors.New("is in the group still")
		}
	case *typescript:
		a, err := m.call(&tsRequest{Op: "take", Message: commit})
		if err != nil {
			return err
		}
		if !a.Removed {
			return errors.New("is in the group still")
		}
	}
	return nil
}

// late is a message that its readers get in a later epoch.
type late struct {
	from    member
	readers []member
	text    string
	msg     []byte
}

// mixed is a random life of a group whose members are of this package and of ts-mls.
type mixed struct {
	*history
	peer    *tsPeer
	late    []late
	refused int // joins, by ts-mls
}

// person makes a client of one implementation or the other: the other, if all members are of one.
func (h *mixed) person() member {
	h.t.Helper()
	h.made++
	encrypt, typed := h.rng.IntN(4) == 0, h.rng.IntN(2) == 0
	count := 0
	for _, m := range h.members {
		if _, is := m.(*typescript); is {
			count++
		}
	}
	if len(h.members) > 0 && (count == 0 || count == len(h.members)) {
		typed = count == 0
	}
	if typed {
		o, err := newTypescript(h.peer, h.suite, fmt.Sprintf("typescript%d", h.made), encrypt)
		if err != nil {
			h.fail("%v", err)
		}
		return o
	}
	return &ours{newPerson(h.t, h.suite, fmt.Sprintf("ours%d", h.made), func(c *Config) {
		c.Now, c.Rand = time.Now, nil
		c.EncryptHandshake, c.GREASE = encrypt, h.rng.IntN(2) == 0
		if h.rng.IntN(2) == 0 {
			c.Padding = PadStep
		}
	})}
}

// create lets someone create the group.
func (h *mixed) create() {
	h.t.Helper()
	creator := h.person()
	h.note("%s creates the group", creator.name())
	var err error
	switch m := creator.(type) {
	case *ours:
		m.group, err = Create(m.cfg, nil)
	case *typescript:
		err = m.create([]byte("the group"))
	}
	h.check(creator, err)
	h.members = []member{creator}
}

func (h *mixed) check(m member, err error) {
	h.t.Helper()
	if err != nil {
		h.fail("%s: %v", m.name(), err)
	}
}

// tree is the group's tree as everybody sees it.
func (h *mixed) tree() *tree {
	h.t.Helper()
	b, err := h.members[0].info()
	h.check(h.members[0], err)
	s, _ := suite.Lookup(h.suite)
	return must[*tree](h.t)(findTree(s, must[*Message](h.t)(ParseMessage(b)).groupInfo, nil, DefaultLimits()))
}

// unjoinable reports whether ts-mls refuses to join a group of that tree. Whenever a leaf is unmerged in a node, it asks all nodes above
// that leaf for the same list of unmerged leaves, even those above the node. Section 12.4.3.1 asks only those between the two, and
// only to list the leaf.
func unjoinable(t *tree) bool {
	for _, n := range t.nodes {
		if n.parent == nil {
			continue
		}
		for _, leaf := range n.parent.unmerged {
			for a := range treemath.DirectPath(leaf.Node(), t.size()) {
				if p := t.nodes[a].parent; p != nil && !slices.Equal(p.unmerged, n.parent.unmerged) {
					return true
				}
			}
		}
	}
	return false
}

// lopsided reports whether nobody would be left in the left half of the tree. Then the root is in nobody's filtered direct path. ts-mls
// derives a path secret for it nevertheless, so that its commit secret is one derivation behind that of section 12.4.1.
func (h *mixed) lopsided(gone member) bool {
	h.t.Helper()
	t := h.tree()
	t.members(func(i LeafIndex, l *LeafNode) bool {
		if string(l.Credential.Identity) == gone.name() {
			t.remove(i)
			return false
		}
		return true
	})
	t.shrink()
	return t.size() > 1 && t.empty(t.root().Left())
}

// isKnown reports whether err is that of ts-mls for such a tree.
func (h *mixed) isKnown(m member, err error) bool {
	h.t.Helper()
	_, is := m.(*typescript)
	return is && err != nil && strings.Contains(err.Error(), "must list leaf node in its unmerged_leaves") && unjoinable(h.tree())
}

// enter lets those in who were added by a commit that all members have taken. by removes again whom ts-mls keeps from joining.
func (h *mixed) enter(by member, people []member, welcome []byte) {
	h.t.Helper()
	var out []member
	for _, p := range people {
		if err := p.join(welcome); h.isKnown(p, err) {
			out = append(out, p)
		} else {
			h.check(p, err)
			h.members = append(h.members, p)
		}
	}
	if len(out) > 0 {
		h.readLate() // while the epoch is kept
	}
	for _, p := range out {
		h.note("%s cannot join, %s removes it", p.name(), by.name())
		h.refused++
		commit, err := by.remove(p.name())
		h.check(by, err)
		h.told(by, commit)
	}
}

// newcomers are 1 to n clients.
func (h *mixed) newcomers(n int) (people []member, packages [][]byte) {
	h.t.Helper()
	for range 1 + h.rng.IntN(n) {
		p := h.person()
		people, packages = append(people, p), append(packages, p.keyPackage())
	}
	return people, packages
}

// victim is someone whom by can remove; nil if there is none.
func (h *mixed) victim(by member) member {
	h.t.Helper()
	if v := h.any(); len(h.members) > 2 && v != by && !h.lopsided(v) {
		return v
	}
	return nil
}

func listed(people []member) string {
	var list []string
	for _, p := range people {
		list = append(list, p.name())
	}
	return strings.Join(list, ", ")
}

// step is one random event.
func (h *mixed) step(most int) {
	h.t.Helper()
	by, room := h.any(), most-len(h.members)
	switch what := h.rng.IntN(10); {
	case what < 3 && room > 0:
		people, packages := h.newcomers(min(4, room))
		h.note("%s adds %s", by.name(), listed(people))
		commit, welcome, err := by.add(packages)
		h.check(by, err)
		h.told(by, commit)
		h.enter(by, people, welcome)
	case what == 3:
		gone := h.victim(by)
		if gone == nil {
			return
		}
		h.note("%s removes %s", by.name(), gone.name())
		commit, err := by.remove(gone.name())
		h.check(by, err)
		h.leave(gone.name())
		h.told(by, commit)
		h.check(gone, leave(gone, commit))
	case what == 4 && room > 0:
		h.joinFromOutside(by)
	case what == 5:
		h.note("%s refreshes", by.name())
		commit, err := by.refresh()
		h.check(by, err)
		h.told(by, commit)
	default:
		h.negotiate(by, room)
	}
	h.agree()
	h.readLate()
	h.sendLate()
}

func (h *mixed) joinFromOutside(by member) {
	h.t.Helper()
	p := h.person()
	h.note("%s joins by an external commit, with a group info of %s", p.name(), by.name())
	info, err := by.info()
	h.check(by, err)
	commit, err := p.joinExternal(info)
	if h.isKnown(p, err) {
		h.note("%s cannot", p.name())
		h.refused++
		return
	}
	h.check(p, err)
	h.told(p, commit)
	h.members = append(h.members, p)
}

// negotiate lets members propose up to four things, and committer commit them all.
func (h *mixed) negotiate(committer member, room int) {
	h.t.Helper()
	var people, updated []member
	var gone member
	keys := map[string][]byte{}
	resumption := false
	propose := func(what string, by member, p []byte, err error) {
		h.t.Helper()
		h.note("%s proposes %s", by.name(), what)
		h.check(by, err)
		h.told(by, p)
	}
	if h.rng.IntN(3) == 0 {
		if gone = h.victim(committer); gone != nil {
			by := h.any()
			p, err := by.proposeRemove(gone.name())
			propose("to remove "+gone.name(), by, p, err)
		}
	}
	for range 1 + h.rng.IntN(3) {
		by := h.any()
		switch what := h.rng.IntN(5); {
		case what < 2 && len(people) < room && !resumption:
			n := h.person()
			people = append(people, n)
			p, err := by.proposeAdd(n.keyPackage())
			propose("to add "+n.name(), by, p, err)
		case what == 2 && len(people) == 0:
			// Not together with additions: newcomers do not have it.
			resumption = true
			p, err := by.proposePSK()
			propose("a resumption key", by, p, err)
		case what == 3:
			h.made++
			id := fmt.Sprintf("key%d", h.made)
			keys[id] = []byte("secret of " + id)
			p, err := proposeExternalPSK(by, id)
			propose(id, by, p, err)
		case what == 4 && by != committer && by != gone && !slices.Contains(updated, by):
			if o, ok := by.(*ours); ok { // ts-mls has nothing to make updates with
				updated = append(updated, by)
				p, err := o.group.ProposeUpdate(Identity{}, nil)
				propose("an update", by, p, err)
			}
		}
	}
	for id, key := range keys {
		for _, m := range slices.Concat(h.members, people) {
			h.check(m, learn(m, id, key))
		}
	}
	h.note("%s commits", committer.name())
	commit, welcome, err := committer.commitPending()
	h.check(committer, err)
	if gone != nil {
		h.leave(gone.name())
	}
	h.told(committer, commit)
	// ts-mls does not see that it is removed if the commit puts another into its leaf.
	if _, is := gone.(*typescript); gone != nil && (!is || len(people) == 0) {
		h.check(gone, leave(gone, commit))
	}
	h.enter(committer, people, welcome)
}

// sendLate lets a member send what the others read behind the next commit.
func (h *mixed) sendLate() {
	h.t.Helper()
	from := h.any()
	l := late{from: from, readers: slices.Clone(h.members), text: "late of " + from.name()}
	var err error
	l.msg, err = from.send([]byte(l.text), nil)
	h.check(from, err)
	h.late = append(h.late, l)
}

func (h *mixed) readLate() {
	h.t.Helper()
	for _, l := range h.late {
		for _, m := range l.readers {
			if m == l.from || !slices.Contains(h.members, m) {
				continue
			}
			if text, _, err := m.read(l.msg); err != nil || string(text) != l.text {
				h.fail("%s reads %q of %s late: %v", m.name(), text, l.from.name(), err)
			}
		}
	}
	h.late = nil
}

// Groups of members of this package and of ts-mls live through random histories, as in TestDifferentialHistories: with several proposals
// in a commit, messages of past epochs, proposals and commits that are public or private messages. MLS_HISTORIES is how many, MLS_SEED
// where to begin.
func TestDifferentialTypeScript(t *testing.T) {
	number := func(name string, otherwise int) int {
		if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
			return n
		}
		return otherwise
	}
	library := tsLibrary(t)
	first, count := number("MLS_SEED", 1), number("MLS_HISTORIES", 10)
	for seed := first; seed < first+count; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			h := &mixed{peer: startTS(t, library)}
			h.history = &history{t: t, rng: rand.New(rand.NewPCG(uint64(seed), 0)), suite: CipherSuite(1 + seed%3)}
			h.create()
			most := 2 + h.rng.IntN(9)
			for range 15 + h.rng.IntN(15) {
				h.step(most)
			}
			epoch, _, _, err := h.members[0].state()
			h.check(h.members[0], err)
			t.Logf("%v, at most %d members: %d epochs, %d joins refused; ts-mls: %v", h.suite, most, epoch, h.refused, h.peer.calls)
		})
	}
}
