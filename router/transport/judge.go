package transport

import (
	"encoding/binary"
	"errors"
	"net/http"
	"slices"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
	"github.com/seed31b3bfd0/slimgo/wire/compress"
	"github.com/seed31b3bfd0/slimgo/wire/h2"
	"github.com/seed31b3bfd0/slimgo/wire/ws"
)

// On a listener with a Guard every request is judged beside the loop before anything else is made of it: P-auth-1.
//
//	Request ──▶ judgement ─ ─ Guard.Ask ─ ─▶ answer, posted to the loop ──▶ let in: as without a Guard
//	               └── its stream or socket ends: given up                └──▶ denied: 401, 403 or 503, empty

// judgement is a request that is being judged. Owned by the loop.
type judgement struct {
	k       *carrier
	guard   *auth.Guard
	shown   *auth.Shown
	tries   int
	cancel  func()
	over    bool // it is decided, or given up
	decided func(*auth.Identity, *auth.Denied)
}

// maxTries is how often a request is judged whose listener's keys or policies change meanwhile.
const maxTries = 3

// guard is what requests of the socket are judged by; nil: they are not.
func (k *carrier) guard() *auth.Guard {
	if k.peer.Gate == nil {
		return nil
	}
	return k.peer.Gate.guard
}

// judge has a request judged that has shown authorization, which is copied. decided is called once, later, on the loop,
// with who it is, or why it is denied, unless giveUp is called before.
func (k *carrier) judge(authorization []byte, decided func(*auth.Identity, *auth.Denied)) *judgement {
	shown := &auth.Shown{Authorization: string(authorization[:min(len(authorization), auth.MaxAuthorization+1)]), Remote: k.peer.Remote}
	if c, ok := k.net.TLS(); ok {
		shown.Certificates = c.PeerCertificates
	}
	j := &judgement{k: k, shown: shown, decided: decided}
	j.ask(k.guard())
	return j
}

func (j *judgement) ask(g *auth.Guard) {
	j.guard = g
	j.tries++
	loop := j.k.net.Loop()
	j.cancel = g.Ask(j.shown, func(v auth.Verdict) {
		loop.Station().Post(func() {
			defer loop.Guard(j.k.net)
			j.answer(v)
		})
	})
}

// answer takes a verdict, unless it is one of yesterday.
func (j *judgement) answer(v auth.Verdict) {
	if j.over {
		return
	}
	g := j.k.guard()
	switch {
	case g == nil: // its listener asks nobody any more
		j.decide(j.k.who, nil)
	case g == j.guard && (v.Denied != nil || g.Current(v)):
		j.decide(v.Who, v.Denied)
	case j.tries == maxTries:
		j.decide(nil, auth.Unavailable("keys or policies change faster than it can be judged"))
	default:
		j.ask(g)
	}
}

func (j *judgement) decide(who *auth.Identity, d *auth.Denied) {
	decided := j.decided
	j.end()
	decided(who, d)
	j.k.net.MarkDirty()
}

// giveUp ends it without a decision.
func (j *judgement) giveUp() {
	if !j.over {
		j.cancel()
		j.end()
	}
}

// end drops what was shown.
func (j *judgement) end() { j.over, j.shown, j.decided = true, nil, nil }

// denied notes that a request was denied. Its socket may try again, for a while.
func (k *carrier) denied(d *auth.Denied) (f Fault) {
	f = FaultUnjudged
	k.peer.Advice = "its credentials cannot be judged now: it is to come again later"
	switch d.Status {
	case http.StatusUnauthorized:
		f, k.peer.Advice = FaultUnauthorized, "this endpoint wants credentials: look at auth of the client, and of the server"
	case http.StatusForbidden:
		f, k.peer.Advice = FaultForbidden, "its credentials are right, and the policy of this endpoint refuses them"
	}
	var attrs []any
	if d.Subject != "" {
		attrs = append(attrs, "claimed_subject", cut([]byte(d.Subject)))
	}
	k.refuse(f, d, attrs...)
	k.live.accepting = true // it was answered
	return f
}

// waiting is a stream of gRPC whose request is being judged, with what has come on it meanwhile.
type waiting struct {
	*judgement
	sock    *socket
	next    *waiting // of its socket
	stream  *h2.Stream
	request request
	held    []byte  // messages, each after its size and a flag
	end     *h2.End // nil: the peer has not ended it
}

const (
	// maxWaiting bounds the requests of one socket that are being judged, or whose refusal is held back.
	maxWaiting = 16
	heldPrefix = 5 // of each message in waiting.held: whether it is compressed, and its size
)

var errManyWait = errors.New("too many requests of one socket wait to be judged")

// await has a request judged.
func (k *socket) await(hs *h2.Stream, r *h2.Request, q *request) {
	if k.waiters() >= maxWaiting {
		k.refuse(FaultUnjudged, errManyWait, "limit", maxWaiting)
		k.h2.Reset(hs, h2.RefusedStream) // nothing was made of it: it may come again
		return
	}
	w := &waiting{sock: k, next: k.waits, stream: hs, request: *q}
	hs.User, k.waits = w, w
	if q.in != compress.None {
		k.h2.TakeCompressed(hs)
	}
	w.judgement = k.judge(r.Authorization, w.decided)
}

// decided lets the stream in, or refuses it.
func (w *waiting) decided(who *auth.Identity, d *auth.Denied) {
	k, hs, e := w.sock, w.stream, (*events)(w.sock)
	held, end := w.held, w.end
	w.leave()
	switch {
	case d != nil:
		k.denied(d)
		var fields []h2.Field
		if d.Challenge != "" {
			fields = append(fields, h2.Field{Name: "www-authenticate", Value: d.Challenge})
		}
		k.h2.Refuse(hs, d.Status, -1, "", fields...)
	case k.finishing():
		k.h2.Reset(hs, h2.RefusedStream)
	default:
		k.route(hs, &w.request, who)
	}
	for len(held) > 0 {
		s, ok := hs.User.(*stream)
		if !ok || s.closed {
			break
		}
		n := heldPrefix + int(binary.BigEndian.Uint32(held[1:]))
		if msg := held[heldPrefix:n]; held[0] != 0 {
			e.Compressed(hs, msg, false)
		} else {
			e.Message(hs, msg, false)
		}
		held = held[n:]
	}
	if end != nil {
		e.Ended(hs, end)
	}
	k.count()
}

// keep holds a message that comes before the decision. More than a stranger's first message is not waited with.
func (w *waiting) keep(p []byte, packed bool) {
	k := w.sock
	if len(w.held)+heldPrefix+len(p) > k.group.opt.FirstMessage+heldPrefix {
		k.refuse(FaultTooLarge, errors.New("too much has come before the request was judged"))
		hs := w.stream
		w.abandon()
		k.h2.Reset(hs, h2.EnhanceYourCalm)
		return
	}
	var flag byte
	if packed {
		flag = 1
	}
	w.held = append(binary.BigEndian.AppendUint32(append(w.held, flag), uint32(len(p))), p...)
	k.waiting += heldPrefix + len(p)
}

// abandon ends it because its stream is over.
func (w *waiting) abandon() {
	w.giveUp()
	w.leave()
}

// leave takes it off its socket.
func (w *waiting) leave() {
	k := w.sock
	for at := &k.waits; *at != nil; at = &(*at).next {
		if *at == w {
			*at, w.next = w.next, nil
			k.waiting -= len(w.held)
			w.held = nil
			w.stream.User = nil
			return
		}
	}
}

// waiters is how many requests of the socket are being judged.
func (k *socket) waiters() (n int) {
	for w := k.waits; w != nil; w = w.next {
		n++
	}
	return n
}

// dropWaits gives up all that is being judged of the socket.
func (k *socket) dropWaits() {
	for k.waits != nil {
		k.waits.abandon()
	}
}

// refuseWaits has the streams that are being judged open elsewhere: this end takes no more.
func (k *socket) refuseWaits() {
	for k.waits != nil {
		hs := k.waits.stream
		k.waits.abandon()
		k.h2.Reset(hs, h2.RefusedStream)
	}
}

// judgeUpgrade has the request for a WebSocket judged.
func (k *webSocket) judgeUpgrade(r *ws.Request, q *upgrade) {
	shown := r.Authorization
	if shown == nil && len(r.Token) > 0 && k.guard().QueryToken() { // P-auth-2
		shown = slices.Concat([]byte("Bearer "), r.Token)
		defer clear(shown)
	}
	asked := *q
	k.judged = k.judge(shown, func(who *auth.Identity, d *auth.Denied) {
		k.judged = nil
		if d == nil {
			k.who = who
			k.route(&asked)
		} else {
			k.turnDown(d)
		}
		if err := k.ws.Feed(nil, (*wsEvents)(k)); err != nil {
			k.fail(err)
		}
	})
}

// turnDown refuses a request for a WebSocket that was denied.
func (k *webSocket) turnDown(d *auth.Denied) {
	k.why = k.denied(d).String()
	k.counted = true
	var fields []ws.Field
	if d.Challenge != "" {
		fields = append(fields, ws.Field{Name: "WWW-Authenticate", Value: d.Challenge})
	}
	_ = k.ws.Refuse(d.Status, "", fields...)
}

// dropJudged gives up a request that is being judged.
func (k *webSocket) dropJudged() {
	if k.judged != nil {
		k.judged.giveUp()
		k.judged = nil
	}
}
