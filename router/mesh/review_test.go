package mesh

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/seed31b3bfd0/slimgo/router/table"
	"github.com/seed31b3bfd0/slimgo/wire"
)

func reviewName(i int) wire.NameText { return wire.Text("org", "ns", fmt.Sprint("n", i)) }

// Of offers that may not be made none is left, and none of the others is lost, whatever happens between the steps.
func TestAReviewDropsOffersThatMayNotBeMade(t *testing.T) {
	for seed := range uint64(60) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		s := newStand(t, Options{Relay: seed%2 == 0, Budget: &table.Budget{PerConn: 1000}})
		s.m.portion = 1 + rnd.IntN(20)
		peers := []*end{s.peer("a"), s.peer("b"), s.peer("c")}
		type claim struct {
			p    *end
			name wire.Name
			id   uint64
		}
		made := map[claim]bool{}
		offer := func(p *end, i int, id uint64) {
			s.offer(p, reviewName(i), id, 8)
			made[claim{p, reviewName(i).Name, id}] = true
		}
		for range 150 {
			offer(peers[rnd.IntN(3)], rnd.IntN(40), uint64(1+rnd.IntN(3)))
		}
		forbidden := map[wire.Name]bool{}
		for i := range 40 {
			forbidden[reviewName(i).Name] = rnd.IntN(2) == 0
		}
		may := func(c *end, n *wire.Name) bool { return c == peers[2] || !forbidden[*n] }
		dropped := func(c *end, n wire.NameText, id uint64) {
			x := claim{c, n.Name, id}
			if !made[x] || may(c, &n.Name) {
				t.Fatalf("seed %d: %v dropped", seed, x)
			}
			delete(made, x)
		}
		var v Review[end]
		left := false
		for s.m.ReviewStep(&v, may, dropped) {
			if s.m.most > s.m.portion+8*len(peers)+20 {
				t.Fatalf("seed %d: %d steps in one hold", seed, s.m.most)
			}
			s.m.most = 0
			switch rnd.IntN(6) {
			case 0: // what comes meanwhile is allowed
				if i := rnd.IntN(60); !forbidden[reviewName(i).Name] {
					offer(peers[0], i, 7)
				}
			case 1:
				for x := range made {
					s.m.Withdraw(x.p, x.name, x.id)
					delete(made, x)
					break
				}
			case 2:
				if !left && rnd.IntN(4) == 0 {
					left = true
					s.leave(peers[1])
					for x := range made {
						if x.p == peers[1] {
							delete(made, x)
						}
					}
				}
			}
		}
		if wrong := verify(s.m); wrong != "" {
			t.Fatalf("seed %d: %s", seed, wrong)
		}
		if len(s.m.reviews) != 0 {
			t.Errorf("seed %d: a review is kept that has ended", seed)
		}
		n := 0
		for r := s.m.first; r != nil; r = r.next {
			for i := range r.offers() {
				p := s.m.by(r.offer(i))
				n++
				if !made[claim{p.conn, r.name, r.id}] || !may(p.conn, &r.name) {
					t.Errorf("seed %d: an offer of %s is left", seed, p.conn.name)
				}
			}
			if r.offers() > 0 && !s.held(wire.NameText{Name: r.name}) {
				t.Errorf("seed %d: an allowed offer is not in use", seed)
			}
		}
		if n != len(made) {
			t.Errorf("seed %d: %d offers are left, want %d", seed, n, len(made))
		}
	}
}

// A review that is given up, or whose peers all leave, leaves nothing behind.
func TestAReviewThatDoesNotCome(t *testing.T) {
	s := newStand(t, Options{Relay: true})
	s.m.portion = 2
	a := s.peer("a")
	for i := range 20 {
		s.offer(a, reviewName(i), 1, 8)
	}
	may := func(*end, *wire.Name) bool { return true }
	var v, w Review[end]
	if !s.m.ReviewStep(&v, may, nil) || !s.m.ReviewStep(&w, may, nil) {
		t.Fatal("it is done at once")
	}
	s.m.EndReview(&v)
	if len(s.m.reviews) != 1 {
		t.Errorf("%d reviews", len(s.m.reviews))
	}
	s.leave(a)
	if s.m.ReviewStep(&w, may, nil) || len(s.m.reviews) != 0 {
		t.Error("it goes on without routes")
	}
}
