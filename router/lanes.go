package router

// lane is one of the two orders in which messages wait for a receiver.
type lane uint8

const (
	laneSenders lane = iota // what others send
	laneOwn                 // the node's own: acknowledgements, what peers are told
)

// ownShare is how many bytes of its own the node sends ahead of senders' messages that wait, before both take turns.
const ownShare = 64 << 10

// lanes orders what waits for one receiver. The node's own messages go first: one whose subscription has been taken, or a
// peer that is to hear of a name, does not wait behind a full queue. Two rules bind them:
//
//   - They keep their order among themselves. One that must stay behind what senders have queued before it, as the
//     acknowledgement of an Unsubscribe, stands among those, and so does every own message that comes while it stands
//     there. What is still between loops then may follow it.
//   - While senders' messages wait, own ones get no more than ownShare bytes ahead of them: then both get as much.
//
// Rules: P-press-6.
type lanes struct {
	bound int // own messages among those of senders
	ahead int // bytes that own messages are ahead
}

// place says in which lane an own message waits, and counts it. after: it must stay behind senders' messages, of which
// that many wait.
func (l *lanes) place(after bool, senders int) lane {
	if l.bound > 0 || after && senders > 0 {
		l.bound++
		return laneSenders
	}
	return laneOwn
}

// next says which lane goes on, given how many messages wait in each; one does. bound: the first among those of senders
// is an own one, which all in the own lane are older than.
func (l *lanes) next(own, senders int, bound bool) lane {
	if own > 0 && (senders == 0 || bound || l.ahead < ownShare) {
		return laneOwn
	}
	return laneSenders
}

// sent notes that n bytes have left a lane, while that many messages of senders wait.
func (l *lanes) sent(from lane, n, senders int) {
	switch {
	case senders == 0:
		l.ahead = 0
	case from == laneOwn:
		l.ahead += n
	default:
		l.ahead = max(0, l.ahead-n)
	}
}

// ring is a queue of items; the zero ring is empty.
type ring struct {
	items []item // of a power of two; nil while empty
	head  int
	n     int
}

func (r *ring) at(i int) *item { return &r.items[(r.head+i)&(len(r.items)-1)] }

func (r *ring) push(it item) {
	if r.n == len(r.items) {
		r.resize(max(2, 2*len(r.items)))
	}
	r.n++
	*r.at(r.n - 1) = it
}

func (r *ring) pop() {
	*r.at(0) = item{}
	r.head = (r.head + 1) & (len(r.items) - 1)
	r.n--
	r.shrink()
}

// leastRing is the ring that an empty queue may keep.
const leastRing = 64

// shrink gives memory back that a burst has left: a ring of which three quarters are empty.
func (r *ring) shrink() {
	switch {
	case len(r.items) <= leastRing || r.n > len(r.items)/4:
	case r.n == 0:
		r.items, r.head = nil, 0
	default:
		r.resize(len(r.items) / 2)
	}
}

func (r *ring) resize(size int) {
	items := make([]item, size)
	for i := range r.n {
		items[i] = *r.at(i)
	}
	r.items, r.head = items, 0
}
