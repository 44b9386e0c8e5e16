package session

import (
	"errors"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/fifo"
	"github.com/seed31b3bfd0/slimgo/session/internal/group"
	"github.com/seed31b3bfd0/slimgo/session/internal/message"
	"github.com/seed31b3bfd0/slimgo/session/internal/workers"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// entry is a message that has come.
type entry struct {
	l      letter
	m      *message.Message
	lent   bool          // this and m are lent
	sealed *group.Sealed // of data that is prepared; nil: it is not
	check  *check        // of its signature; nil: likewise
	rounds int           // how often it has waited for tokens
}

// kept is a, as something to keep.
func (a *entry) kept() *entry {
	if !a.lent {
		return a
	}
	own, m := *a, *a.m
	own.m, own.lent = &m, false
	return &own
}

const (
	mostDoubts      = 256 // senders of a session whose tokens may be waited for at a time
	mostDoubtsFront = 32  // of those who are in no session yet
)

var errTokens = errors.New("too many tokens are waited for already, and its token is one more")

// unjudged are the tokens in a message that a Verifier has to be asked about.
func (a *App) unjudged(m *message.Message, now time.Time) (tokens []string) {
	if a.who.secret != nil {
		return nil
	}
	for _, token := range group.Tokens(m) {
		if _, _, ok := a.who.judged(token, now); !ok {
			tokens = append(tokens, token)
		}
	}
	return tokens
}

// mostRounds is how often a message may wait for tokens: for its sender's, and for those that are found when it is looked at.
const mostRounds = 3

// doubts are messages whose tokens a Verifier is asked about. What the same sender has said after one waits for it, what others say does
// not. The worker's.
//
//	a token that nobody has judged ──▶ waiting, by sender ── all tokens are judged ──▶ ready, in the order in which they have come
type doubts struct {
	app     *App
	slot    *workers.Slot[letter]
	most    int // senders that may wait
	waiting map[wire.Name]*doubted
	ready   fifo.Queue[*entry]
}

// doubted is what waits of one sender, and for how many tokens.
type doubted struct {
	fifo.Queue[*entry]
	tokens int
}

// behind has a wait behind what its sender has said before, if that waits.
func (d *doubts) behind(a *entry) bool {
	q := d.waiting[a.m.Source.Name]
	if q == nil {
		return false
	}
	q.Push(a.kept())
	return true
}

// park has a wait for those of the tokens that are not judged yet. park says false if that is one too many, or it has waited too often.
// What of its sender waits already has come after it: it was looked at before, and what it had to wait for was found then.
func (d *doubts) park(a *entry, tokens []string) bool {
	n := a.m.Source.Name
	q := d.waiting[n]
	if q == nil && len(d.waiting) >= d.most || a.rounds == mostRounds {
		return false
	}
	if q == nil {
		if d.waiting == nil {
			d.waiting = map[wire.Name]*doubted{}
		}
		q = new(doubted)
		d.waiting[n] = q
	}
	a = a.kept()
	q.Unpop(a)
	a.rounds++
	q.tokens += len(tokens)
	judged := letter{first: func() {
		if q.tokens--; q.tokens == 0 {
			d.release(n)
		}
	}}
	for _, token := range tokens {
		d.app.who.judge(token, func() { d.slot.Post(judged) })
	}
	return true
}

// release has what waits of a sender looked at.
func (d *doubts) release(n wire.Name) {
	q := d.waiting[n]
	delete(d.waiting, n)
	for q.Len() > 0 {
		d.ready.Push(q.Pop())
	}
}
