package uplink

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/seed31b3bfd0/slimgo/wire"
)

// ErrDown says that there is no connection at the moment. Nothing was sent.
var ErrDown = errors.New("uplink: there is no connection at the moment")

// Keeping is how a Keeper connects.
type Keeping struct {
	// Dial opens a connection: one attempt, which takes up to its Options.Setup. Its messages should go to an
	// Options.Handle that is the same for all.
	Dial func(ctx context.Context) (*Conn, error)
	// Attach takes the place of Dial for a node in the same process: see Attach.
	Attach func(ctx context.Context) (*Local, error)
	// Backoff is how long to wait after the given number of attempts that have failed one after the other, 1 and up; nil:
	// half a second, doubled up to ten seconds. Connections that end within a second are such attempts from the second
	// one in a row on; after others the next is made at once. Whatever the fault, it is tried again, but for ErrOver.
	Backoff func(failed int) time.Duration
	// Changed is told of every change: nil when there is a connection, whose subscriptions are the ones of before; else
	// why there is none. The calls follow each other, and must not wait for the Keeper. An ErrOver is the last one, and what everything
	// says from then on.
	Changed func(err error)
}

// connection is what a Keeper keeps.
type connection interface {
	TrySend(msg []byte) error
	Await(ctx context.Context, most int) error
	Send(ctx context.Context, msg []byte) error
	Request(ctx context.Context, k wire.Kind, h *wire.PublishHeader, id uint64) (*Request, error)
	Unsubscribe(ctx context.Context, h *wire.PublishHeader, id uint64) error
	Close(ctx context.Context) error
	Abort()
	Done() <-chan struct{}
	Err() error
}

// Keeper keeps a connection to a node: when it ends it makes another, and asks the node again for the names that it had
// been asked for, under their ids, so that nothing else has to be told. What was sent and not taken is lost: sessions send
// it again.
//
// A keeper has a goroutine, and one for each name that is being withdrawn. All methods are safe for all.
type Keeper struct {
	o       Keeping
	life    context.Context // ends with Close
	stop    context.CancelFunc
	done    chan struct{}
	running sync.WaitGroup // goroutines of withdraw; added to with mu held

	mu     sync.Mutex
	conn   connection    // nil: none
	up     chan struct{} // closed when there is one
	closed bool
	over   error      // an ErrOver: there will be no connection any more
	names  []keptName // what the node is asked for, in the order in which that began
	nextID uint64     // begins at random, below 1<<61
}

type keptName struct {
	id     uint64
	header wire.PublishHeader
}

// Keep returns when there is a connection. ctx bounds that, and nothing after; its error comes with that of the last
// attempt.
func Keep(ctx context.Context, o Keeping) (*Keeper, error) {
	if o.Backoff == nil {
		o.Backoff = backoff
	}
	if o.Changed == nil {
		o.Changed = func(error) {}
	}
	k := &Keeper{o: o, nextID: firstID(), done: make(chan struct{}), up: make(chan struct{})}
	k.life, k.stop = context.WithCancel(context.Background())
	c, err := k.connect(ctx, 0)
	if err != nil {
		k.stop()
		return nil, err
	}
	go k.run(c)
	return k, nil
}

// backoff is the default of Keeping.Backoff.
func backoff(failed int) time.Duration {
	return min(10*time.Second, 500*time.Millisecond<<min(failed-1, 8))
}

// open makes one attempt.
func (k *Keeper) open(ctx context.Context) (connection, error) {
	if k.o.Attach != nil {
		c, err := k.o.Attach(ctx)
		if err != nil { // a nil *Local would be a connection
			return nil, err
		}
		return c, nil
	}
	c, err := k.o.Dial(ctx)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// settled is how long a connection lasts that is no failure.
const settled = time.Second

// connect tries until there is a connection that has all names, there cannot be one, or ctx is over. So many attempts have failed
// before.
func (k *Keeper) connect(ctx context.Context, failed int) (c connection, err error) {
	for ; ; failed++ {
		if failed > 0 {
			select {
			case <-ctx.Done():
				return nil, errors.Join(ctx.Err(), err)
			case <-time.After(k.o.Backoff(failed)):
			}
		}
		c, err = k.open(ctx)
		if err == nil {
			if err = k.restore(ctx, c); err == nil {
				return c, nil
			}
			c.Abort()
		}
		if errors.Is(err, ErrOver) {
			k.mu.Lock()
			k.over = err
			k.mu.Unlock()
			k.o.Changed(err)
			return nil, err
		}
		if ctx.Err() != nil {
			return nil, errors.Join(ctx.Err(), err)
		}
		k.o.Changed(err)
	}
}

// restore asks the node of a new connection for all names, and makes it the one that is used. Names that are asked for
// meanwhile are asked for, too, and those that are given up meanwhile are withdrawn; one that the node refuses now is left as it is: the
// next connection may have it.
func (k *Keeper) restore(ctx context.Context, c connection) error {
	asked := map[uint64]keptName{}
	for {
		k.mu.Lock()
		var todo []keptName
		for _, n := range k.names {
			if _, ok := asked[n.id]; !ok {
				todo = append(todo, n)
			}
		}
		if len(todo) == 0 && !k.closed {
			k.conn = c
			close(k.up)
			for _, n := range k.names {
				delete(asked, n.id)
			}
			k.mu.Unlock()
			k.o.Changed(nil)
			for _, n := range asked {
				k.withdraw(c, n)
			}
			return nil
		}
		closed := k.closed
		k.mu.Unlock()
		if closed {
			return ErrClosed
		}
		requests := make([]*Request, 0, len(todo))
		for i := range todo {
			asked[todo[i].id] = todo[i]
			r, err := c.Request(ctx, wire.KindSubscribe, &todo[i].header, todo[i].id)
			if err != nil {
				return err
			}
			requests = append(requests, r)
		}
		for _, r := range requests {
			var refused *NameError
			if err := r.Wait(ctx); err != nil && !errors.As(err, &refused) {
				return err
			}
		}
	}
}

// run makes a new connection whenever one ends.
func (k *Keeper) run(c connection) {
	defer close(k.done)
	brief := 0 // connections in a row
	for {
		began := time.Now()
		<-c.Done()
		k.mu.Lock()
		k.conn, k.up = nil, make(chan struct{})
		closed := k.closed
		k.mu.Unlock()
		if closed {
			return
		}
		k.o.Changed(c.Err())
		if brief++; time.Since(began) >= settled {
			brief = 0
		}
		var err error
		if c, err = k.connect(k.life, max(0, brief-1)); err != nil {
			return // the keeper is over, or the node is
		}
	}
}

// await waits for a connection and returns it.
func (k *Keeper) await(ctx context.Context) (connection, error) {
	for {
		k.mu.Lock()
		c, up, closed, over := k.conn, k.up, k.closed, k.over
		k.mu.Unlock()
		switch {
		case closed:
			return nil, ErrClosed
		case over != nil:
			return nil, over
		case c != nil:
			return c, nil
		}
		select {
		case <-up:
		case <-k.done: // Close, or over
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// TrySend sends on the connection that there is, and does not wait: ErrDown, ErrFull, or why the message is none.
func (k *Keeper) TrySend(msg []byte) error {
	k.mu.Lock()
	c, closed, over := k.conn, k.closed, k.over
	k.mu.Unlock()
	switch {
	case closed:
		return ErrClosed
	case over != nil:
		return over
	case c == nil:
		return ErrDown
	}
	return c.TrySend(msg)
}

// Await is that of the connection that there is; ErrDown: there is none.
func (k *Keeper) Await(ctx context.Context, most int) error {
	k.mu.Lock()
	c, closed := k.conn, k.closed
	k.mu.Unlock()
	switch {
	case closed:
		return ErrClosed
	case c == nil:
		return ErrDown
	}
	return c.Await(ctx, most)
}

// Send sends, and waits for a connection and for room in its queue.
func (k *Keeper) Send(ctx context.Context, msg []byte) error {
	for {
		c, err := k.await(ctx)
		if err != nil {
			return err
		}
		if err = c.Send(ctx, msg); !errors.Is(err, ErrDown) {
			return err
		}
		select { // a node in the process is stopping
		case <-c.Done():
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Subscribe asks the node for the messages to h.Dest, now and on every later connection, until Unsubscribe. It returns
// when the node has said yes; after an error the name is not kept, and withdrawn where the node may have it.
func (k *Keeper) Subscribe(ctx context.Context, h *wire.PublishHeader) (id uint64, err error) {
	k.mu.Lock()
	if k.closed {
		k.mu.Unlock()
		return 0, ErrClosed
	}
	k.nextID++
	n := keptName{id: keeperIDs | k.nextID, header: *h}
	k.names = append(k.names, n)
	k.mu.Unlock()
	for {
		c, err := k.await(ctx)
		if err == nil {
			if err = k.ask(ctx, c, n); err == nil {
				return n.id, nil
			}
			if c.Err() != nil { // it has ended, or is about to: another one has asked for the name by the time that it is there
				select {
				case <-c.Done():
				case <-ctx.Done():
				}
				if ctx.Err() == nil {
					continue
				}
			}
		}
		k.forget(n.id)
		if ctx.Err() != nil {
			k.mu.Lock()
			c = k.conn
			k.mu.Unlock()
			k.withdraw(c, n)
		}
		return 0, err
	}
}

// withdraw takes a name back that the node of a connection may have been asked for, and about which nobody waits for its answer any more.
// nil: there is none, and the next one is not asked.
func (k *Keeper) withdraw(c connection, n keptName) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if c == nil || k.closed {
		return
	}
	k.running.Go(func() {
		if r, err := c.Request(k.life, wire.KindUnsubscribe, &n.header, n.id); err == nil {
			_ = r.Wait(k.life)
		}
	})
}

// keeperIDs marks subscription ids of keepers, apart from those that a Conn chooses.
const keeperIDs = 1 << 62

func (k *Keeper) ask(ctx context.Context, c connection, n keptName) error {
	r, err := c.Request(ctx, wire.KindSubscribe, &n.header, n.id)
	if err != nil {
		return err
	}
	return r.Wait(ctx)
}

func (k *Keeper) forget(id uint64) (n keptName, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	i := slices.IndexFunc(k.names, func(n keptName) bool { return n.id == id })
	if i < 0 {
		return keptName{}, false
	}
	n = k.names[i]
	k.names = slices.Delete(k.names, i, i+1)
	return n, true
}

// Unsubscribe withdraws the subscription id, also where ctx ends before the node has said so. Without a connection there is nothing to
// withdraw: the next one is not asked for it.
func (k *Keeper) Unsubscribe(ctx context.Context, id uint64) error {
	n, ok := k.forget(id)
	if !ok {
		return nil
	}
	k.mu.Lock()
	c := k.conn
	k.mu.Unlock()
	if c == nil {
		return nil
	}
	err := c.Unsubscribe(ctx, &n.header, id)
	if err != nil && ctx.Err() != nil {
		k.withdraw(c, n)
	}
	return err
}

// Close ends the connection, and waits until the node has taken what was accepted, or ctx is over.
func (k *Keeper) Close(ctx context.Context) error {
	k.mu.Lock()
	if k.closed {
		k.mu.Unlock()
		<-k.done
		return nil
	}
	k.closed = true
	c := k.conn
	k.mu.Unlock()
	var err error
	if c != nil {
		err = c.Close(ctx)
	}
	k.stop()
	<-k.done
	k.running.Wait()
	return err
}
