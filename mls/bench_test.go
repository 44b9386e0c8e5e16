package mls

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	oracle "github.com/thomas-vilte/mls-go"
	"github.com/thomas-vilte/mls-go/ciphersuite"
)

var benchSuites = []CipherSuite{1, 2}

var benchSizes = []int{2, 10, 100, 1000}

// benchSpread is how many members commit once before the figures of a settled tree.
const benchSpread = 16

// plain is how benchmarks configure members: real clock and randomness.
func plain(c *Config) { c.Now, c.Rand = time.Now, nil }

// bench is a group of n members that one commit made; the last has joined, and others who are to commit.
type benchGroup struct {
	first, last *Group
	spread      []*Group
	welcome     []byte
	joiner      *person
}

func newBenchGroup(b *testing.B, cs CipherSuite, n int, settled bool) *benchGroup {
	b.Helper()
	creator := newPerson(b, cs, "creator", plain)
	g := &benchGroup{first: must[*Group](b)(Create(creator.cfg, nil))}
	var o CommitOptions
	people := make([]*person, n-1)
	for i := range people {
		people[i] = newPerson(b, cs, fmt.Sprintf("member %d", i+1), plain)
		o.Proposals = append(o.Proposals, &Add{must[*KeyPackage](b)(people[i].cfg.NewKeyPackage())})
	}
	ch := must[*Change](b)(g.first.Commit(o))
	if err := ch.Apply(); err != nil {
		b.Fatal(err)
	}
	g.welcome, g.joiner = ch.Welcomes[0], people[n-2]
	g.last = must[*Group](b)(Join(g.joiner.cfg, g.welcome, JoinOptions{}))
	if !settled || n == 2 {
		return g
	}
	for i := 0; i < n-2; i += max(1, n/benchSpread) {
		g.spread = append(g.spread, must[*Group](b)(Join(people[i].cfg, g.welcome, JoinOptions{})))
	}
	for i, s := range g.spread {
		ch := must[*Change](b)(s.Commit(CommitOptions{}))
		if err := ch.Apply(); err != nil {
			b.Fatal(err)
		}
		for k, o := range append(g.spread, g.first, g.last) {
			if k != i {
				g.follow(b, o, ch.Commit)
			}
		}
	}
	return g
}

func (g *benchGroup) follow(b *testing.B, o *Group, commit []byte) {
	b.Helper()
	if err := must[*Received](b)(o.Process(commit)).Change.Apply(); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkProtect(b *testing.B) {
	for _, cs := range benchSuites {
		for _, n := range benchSizes {
			for _, size := range []int{100, 1024} {
				b.Run(fmt.Sprintf("suite=%d/members=%d/size=%d", cs, n, size), func(b *testing.B) {
					g := newBenchGroup(b, cs, n, false).first
					text := make([]byte, size)
					var dst []byte
					b.ReportAllocs()
					for b.Loop() {
						dst = must[[]byte](b)(g.Protect(dst[:0], text, nil))
					}
				})
			}
		}
	}
}

// BenchmarkProtectFloor is what protecting cannot do without: its signature, and its two sealings with keys that are
// new each time.
func BenchmarkProtectFloor(b *testing.B) {
	for _, cs := range benchSuites {
		for _, size := range []int{100, 1024} {
			b.Run(fmt.Sprintf("suite=%d/size=%d", cs, size), func(b *testing.B) {
				g := newBenchGroup(b, cs, 2, false).first
				b.ReportAllocs()
				floor := newFloor(g, size)
				for b.Loop() {
					if err := floor.run(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// floorOf is the signature and the two sealings of a message.
type floorOf struct {
	g                   *Group
	tbs, text           []byte
	key, nonce, dst, sd []byte
}

func newFloor(g *Group, size int) *floorOf {
	tbs := make([]byte, size+4+len(g.now.raw)+len(g.ID())+20)
	return &floorOf{g: g, tbs: tbs, text: make([]byte, size+80), key: make([]byte, g.suite.KeySize()), nonce: make([]byte, nonceSize),
		dst: make([]byte, 0, size+200), sd: make([]byte, senderDataSize)}
}

func (f *floorOf) run() error {
	if _, err := f.g.suite.SignRaw(orSystem(nil), f.g.now.signer, f.tbs); err != nil {
		return err
	}
	for _, text := range [][]byte{f.text, f.sd} {
		a, err := f.g.suite.AEAD(f.key)
		if err != nil {
			return err
		}
		a.Seal(f.dst, f.nonce, text, f.tbs[:60])
	}
	return nil
}

func BenchmarkUnprotect(b *testing.B) {
	for _, cs := range benchSuites {
		for _, n := range benchSizes {
			for _, size := range []int{100, 1024} {
				b.Run(fmt.Sprintf("suite=%d/members=%d/size=%d", cs, n, size), func(b *testing.B) {
					g := newBenchGroup(b, cs, n, false)
					text := make([]byte, size)
					b.ReportAllocs()
					for b.Loop() {
						b.StopTimer()
						msg := must[[]byte](b)(g.first.Protect(nil, text, nil))
						b.StartTimer()
						must[*Received](b)(g.last.Process(msg))
					}
				})
			}
		}
	}
}

// BenchmarkSteps unprotects messages while workers verify the signatures of others, and accepts them in order. ns/owner
// is what it costs the owner of the group.
func BenchmarkSteps(b *testing.B) {
	for _, cs := range benchSuites {
		for _, workers := range []int{0, 1, 2} {
			b.Run(fmt.Sprintf("suite=%d/workers=%d", cs, workers), func(b *testing.B) {
				g := newBenchGroup(b, cs, 10, false)
				type job struct {
					u    *Unverified
					done chan *Verified
				}
				work := make(chan job, 64)
				defer close(work)
				for range workers {
					go func() {
						for j := range work {
							j.done <- j.u.Verify()
						}
					}()
				}
				msgs := make([][]byte, b.N)
				for i := range msgs {
					msgs[i] = must[[]byte](b)(g.first.Protect(nil, make([]byte, 1024), nil))
				}
				var owner time.Duration
				queue := make([]job, 0, 64)
				accept := func() {
					j := queue[0]
					queue = append(queue[:0], queue[1:]...)
					var v *Verified
					if workers == 0 {
						v = j.u.Verify()
					} else {
						v = <-j.done
					}
					begun := time.Now()
					must[*Received](b)(v.Accept())
					owner += time.Since(begun)
				}
				b.ReportAllocs()
				b.ResetTimer()
				for _, msg := range msgs {
					if len(queue) == cap(queue) {
						accept()
					}
					begun := time.Now()
					j := job{u: must[*Unverified](b)(g.last.Unprotect(msg))}
					owner += time.Since(begun)
					if workers > 0 {
						j.done = make(chan *Verified, 1)
						work <- j
					}
					queue = append(queue, j)
				}
				for len(queue) > 0 {
					accept()
				}
				b.ReportMetric(float64(owner)/float64(b.N), "ns/owner")
			})
		}
	}
}

func eachTree(b *testing.B, f func(b *testing.B, g *benchGroup)) {
	for _, cs := range benchSuites {
		for _, n := range benchSizes {
			for _, tree := range []string{"flat", "settled"} {
				b.Run(fmt.Sprintf("suite=%d/members=%d/tree=%s", cs, n, tree), func(b *testing.B) {
					g := newBenchGroup(b, cs, n, tree == "settled")
					b.ReportAllocs()
					f(b, g)
				})
			}
		}
	}
}

func BenchmarkCommit(b *testing.B) {
	eachTree(b, func(b *testing.B, g *benchGroup) {
		for b.Loop() {
			must[*Change](b)(g.first.Commit(CommitOptions{})).Discard()
		}
	})
}

func BenchmarkProcess(b *testing.B) {
	eachTree(b, func(b *testing.B, g *benchGroup) {
		for b.Loop() {
			b.StopTimer()
			ch := must[*Change](b)(g.first.Commit(CommitOptions{}))
			if err := ch.Apply(); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
			g.follow(b, g.last, ch.Commit)
		}
	})
}

// BenchmarkJoin joins groups that one commit made: without a path nobody has set a parent, with one the committer has.
// ns/mls-go is what mls-go takes for the same welcome.
func BenchmarkJoin(b *testing.B) {
	for _, cs := range benchSuites {
		for _, n := range benchSizes {
			for _, path := range []bool{false, true} {
				b.Run(fmt.Sprintf("suite=%d/members=%d/path=%v", cs, n, path), func(b *testing.B) {
					j := newJoiners(b, cs, n, path)
					b.ReportAllocs()
					for b.Loop() {
						b.StopTimer()
						j.again(b)
						b.StartTimer()
						j.ours(b)
					}
					var theirs []float64
					for len(j.them) > 0 {
						theirs = append(theirs, float64(j.theirs(b)))
					}
					slices.Sort(theirs)
					b.ReportMetric(theirs[len(theirs)/2], "ns/mls-go")
				})
			}
		}
	}
}

// joiners are a client of this package that joins again and again, and some of mls-go that join once each: one commit
// adds them all to a group of n, or of four.
type joiners struct {
	us      *person
	private []byte // its key package: joining uses it up
	ref     []byte
	them    []*oracle.Client
	welcome []byte
}

const otherJoiners = 3

func newJoiners(t testing.TB, cs CipherSuite, n int, path bool) *joiners {
	t.Helper()
	j := &joiners{us: newPerson(t, cs, "us", plain)}
	creator := newPerson(t, cs, "creator", plain)
	g := must[*Group](t)(Create(creator.cfg, nil))
	o := CommitOptions{Path: path}
	for i := range max(0, n-2-otherJoiners) {
		o.Proposals = append(o.Proposals, &Add{must[*KeyPackage](t)(newPerson(t, cs, fmt.Sprintf("member %d", i), plain).cfg.NewKeyPackage())})
	}
	for i := range otherJoiners {
		c := otherClient(t, cs, fmt.Sprintf("them %d", i))
		k := append(appendMessageHead(nil, WireKeyPackage), must[[]byte](t)(c.FreshKeyPackageBytes(context.Background()))...)
		j.them = append(j.them, c)
		o.Proposals = append(o.Proposals, &Add{must[*KeyPackage](t)(ParseKeyPackage(k))})
	}
	own := must[*KeyPackage](t)(j.us.cfg.NewKeyPackage())
	j.ref = must[[]byte](t)(own.Ref())
	j.private = must[*PrivateKeyPackage](t)(j.us.cfg.KeyPackages.Get(j.ref)).Marshal()
	o.Proposals = append(o.Proposals, &Add{own})
	j.welcome = must[*Change](t)(g.Commit(o)).Welcomes[0]
	return j
}

// again puts the key package back.
func (j *joiners) again(t testing.TB) {
	t.Helper()
	if err := j.us.cfg.KeyPackages.Put(j.ref, must[*PrivateKeyPackage](t)(ParsePrivateKeyPackage(j.private))); err != nil {
		t.Fatal(err)
	}
}

func (j *joiners) ours(t testing.TB) time.Duration {
	t.Helper()
	begun := time.Now()
	must[*Group](t)(Join(j.us.cfg, j.welcome, JoinOptions{}))
	return time.Since(begun)
}

// theirs joins with the next client.
func (j *joiners) theirs(t testing.TB) time.Duration {
	t.Helper()
	c := j.them[0]
	j.them = j.them[1:]
	begun := time.Now()
	if _, err := c.JoinGroup(context.Background(), j.welcome); err != nil {
		t.Fatal(err)
	}
	return time.Since(begun)
}

func otherClient(b testing.TB, cs CipherSuite, name string) *oracle.Client {
	b.Helper()
	return must[*oracle.Client](b)(oracle.NewClient([]byte(name), ciphersuite.CipherSuite(cs), oracle.WithCacheStrategy(oracle.CacheAlways),
		oracle.WithLogger(slog.New(slog.DiscardHandler))))
}

// BenchmarkOtherLibrary is mls-go in the same places, for the same suites: a group of n that one commit made.
func BenchmarkOtherLibrary(b *testing.B) {
	ctx := context.Background()
	for _, cs := range benchSuites {
		for _, n := range benchSizes {
			b.Run(fmt.Sprintf("suite=%d/members=%d", cs, n), func(b *testing.B) {
				creator := otherClient(b, cs, "creator")
				must[[]byte](b)(creator.FreshKeyPackageBytes(ctx))
				id := must[[]byte](b)(creator.CreateGroup(ctx))
				var last *oracle.Client
				for i := range n - 1 {
					last = otherClient(b, cs, fmt.Sprintf("member %d", i))
					must[[]byte](b)(creator.ProposeAddMember(ctx, id, must[[]byte](b)(last.FreshKeyPackageBytes(ctx))))
				}
				_, welcome, err := creator.CommitPendingProposals(ctx, id)
				if err != nil {
					b.Fatal(err)
				}
				must[[]byte](b)(last.JoinGroup(ctx, welcome))
				b.Run("protect", func(b *testing.B) {
					b.ReportAllocs()
					for b.Loop() {
						must[[]byte](b)(creator.SendMessage(ctx, id, make([]byte, 100)))
					}
				})
				b.Run("unprotect", func(b *testing.B) {
					b.ReportAllocs()
					for b.Loop() {
						b.StopTimer()
						msg := must[[]byte](b)(creator.SendMessage(ctx, id, make([]byte, 100)))
						b.StartTimer()
						if _, err := last.ReceiveMessage(ctx, id, msg); err != nil {
							b.Fatal(err)
						}
					}
				})
				b.Run("process", func(b *testing.B) {
					b.ReportAllocs()
					for b.Loop() {
						b.StopTimer()
						commit, _, err := creator.CommitPendingProposals(ctx, id)
						if err != nil {
							b.Fatal(err)
						}
						b.StartTimer()
						if err := last.ProcessCommit(ctx, id, commit); err != nil {
							b.Fatal(err)
						}
					}
				})
				b.Run("commit", func(b *testing.B) {
					b.ReportAllocs()
					for b.Loop() {
						if _, _, err := creator.CommitPendingProposals(ctx, id); err != nil {
							b.Fatal(err)
						}
					}
				})
			})
		}
	}
}

// BenchmarkRustLibrary is mls-rs in the same places: the program of $MLS_PEER (testdata/rust), if there is one,
// measures itself, and each operation is a metric here.
func BenchmarkRustLibrary(b *testing.B) {
	program := os.Getenv("MLS_PEER")
	if program == "" {
		return
	}
	for _, cs := range benchSuites {
		for _, n := range benchSizes {
			b.Run(fmt.Sprintf("suite=%d/members=%d", cs, n), func(b *testing.B) {
				var out []byte
				for b.Loop() {
					var err error
					if out, err = exec.Command(program, "bench", fmt.Sprint(uint16(cs)), fmt.Sprint(n)).Output(); err != nil {
						b.Fatalf("%s bench: %v", program, err)
					}
				}
				b.ReportMetric(0, "ns/op")
				for d := json.NewDecoder(bytes.NewReader(out)); ; {
					var line struct {
						Op string
						NS float64
					}
					if err := d.Decode(&line); errors.Is(err, io.EOF) {
						return
					} else if err != nil {
						b.Fatalf("%s bench: %v", program, err)
					}
					b.ReportMetric(line.NS, "ns/"+strings.ReplaceAll(line.Op, " ", "-"))
				}
			})
		}
	}
}
