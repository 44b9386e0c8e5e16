package mls

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	oracle "github.com/thomas-vilte/mls-go"
	"github.com/thomas-vilte/mls-go/ciphersuite"

	"github.com/seed31b3bfd0/slimgo/mls/internal/suite"
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
	private     *PrivateKeyPackage
	ref         []byte
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
	g.ref = must[[]byte](b)(o.Proposals[n-2].(*Add).KeyPackage.Ref())
	g.private = must[*PrivateKeyPackage](b)(g.joiner.cfg.KeyPackages.Get(g.ref))
	g.last = g.join(b)
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

// join lets the last member join, again and again with the same key package.
func (g *benchGroup) join(b *testing.B) *Group {
	b.Helper()
	if err := g.joiner.cfg.KeyPackages.Put(g.ref, g.private); err != nil {
		b.Fatal(err)
	}
	return must[*Group](b)(Join(g.joiner.cfg, g.welcome, JoinOptions{}))
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

// BenchmarkProtectFloor is what protecting cannot do without: its signature, and its two sealings with keys that are new each time.
func BenchmarkProtectFloor(b *testing.B) {
	for _, cs := range benchSuites {
		for _, size := range []int{100, 1024} {
			b.Run(fmt.Sprintf("suite=%d/size=%d", cs, size), func(b *testing.B) {
				g := newBenchGroup(b, cs, 2, false).first
				b.ReportAllocs()
				floor(b, g.suite, g.now.signer, make([]byte, size+200), make([]byte, size+100))
			})
		}
	}
}

func floor(b *testing.B, s *suite.Suite, key *SigningKey, tbs, text []byte) {
	k, nonce, dst := make([]byte, s.KeySize()), make([]byte, nonceSize), make([]byte, 0, 4096)
	for b.Loop() {
		if _, err := s.SignRaw(orSystem(nil), key, tbs); err != nil {
			b.Fatal(err)
		}
		for _, t := range [][]byte{text, tbs[:senderDataSize]} {
			a, err := s.AEAD(k)
			if err != nil {
				b.Fatal(err)
			}
			a.Seal(dst, nonce, t, tbs[:60])
		}
	}
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

func BenchmarkJoin(b *testing.B) {
	for _, cs := range benchSuites {
		for _, n := range benchSizes {
			b.Run(fmt.Sprintf("suite=%d/members=%d", cs, n), func(b *testing.B) {
				g := newBenchGroup(b, cs, n, false)
				b.ReportAllocs()
				for b.Loop() {
					g.join(b)
				}
			})
		}
	}
}

// BenchmarkOtherLibrary is mls-go in the same places, for the same suites: a group of n that one commit made.
func BenchmarkOtherLibrary(b *testing.B) {
	ctx := context.Background()
	client := func(cs CipherSuite, name string) *oracle.Client {
		return must[*oracle.Client](b)(oracle.NewClient([]byte(name), ciphersuite.CipherSuite(cs), oracle.WithCacheStrategy(oracle.CacheAlways),
			oracle.WithLogger(slog.New(slog.DiscardHandler))))
	}
	for _, cs := range benchSuites {
		for _, n := range benchSizes {
			b.Run(fmt.Sprintf("suite=%d/members=%d", cs, n), func(b *testing.B) {
				creator := client(cs, "creator")
				must[[]byte](b)(creator.FreshKeyPackageBytes(ctx))
				id := must[[]byte](b)(creator.CreateGroup(ctx))
				var last *oracle.Client
				var lastPackage []byte
				for i := range n - 1 {
					last = client(cs, fmt.Sprintf("member %d", i))
					lastPackage = must[[]byte](b)(last.FreshKeyPackageBytes(ctx))
					must[[]byte](b)(creator.ProposeAddMember(ctx, id, lastPackage))
				}
				_, welcome, err := creator.CommitPendingProposals(ctx, id)
				if err != nil {
					b.Fatal(err)
				}
				begun := time.Now()
				if _, err := last.JoinGroup(ctx, welcome); err != nil {
					b.Fatal(err)
				}
				join := time.Since(begun)
				b.Run("protect", func(b *testing.B) {
					b.ReportAllocs()
					for b.Loop() {
						must[[]byte](b)(creator.SendMessage(ctx, id, make([]byte, 100)))
					}
				})
				b.Run("commit+join", func(b *testing.B) {
					for b.Loop() {
						if _, _, err := creator.CommitPendingProposals(ctx, id); err != nil {
							b.Fatal(err)
						}
					}
					b.ReportMetric(float64(join.Nanoseconds()), "ns/join")
				})
			})
		}
	}
}
