package group

import (
	"github.com/seed31b3bfd0/slimgo/session/internal/message"
	"github.com/seed31b3bfd0/slimgo/session/internal/reliable"
)

// used is memory of outputs that are done, for those to come: a message of data takes next to none. What is kept is a few of
// each, since a session that rests should hold little.
type used struct {
	out      []Output // what Take has returned last
	sent     []reliable.Output[Handle]
	steps    []reliable.Step[*Received]
	messages []*message.Message
	incoming []*Received
	lists    []*[]Handle
}

const (
	mostUsed     = 4
	mostUsedList = 16 // entries
	mostHandles  = 64
)

// Recycle takes an output back that is done, and will use again what it points to.
func (c *core) Recycle(o Output) {
	u := &c.used
	switch o := o.(type) {
	case Send:
		if !o.Message.Type.Control() && len(u.messages) < mostUsed {
			*o.Message = message.Message{}
			u.messages = append(u.messages, o.Message)
		}
	case Deliver:
		if len(u.incoming) < mostUsed {
			*o.Received = Received{}
			u.incoming = append(u.incoming, o.Received)
		}
	case Delivered:
		if len(u.lists) < mostUsed && cap(*o.Messages) <= mostHandles {
			clear(*o.Messages)
			*o.Messages = (*o.Messages)[:0]
			u.lists = append(u.lists, o.Messages)
		}
	}
}

// message returns an empty message.
func (u *used) message() *message.Message { return last(&u.messages) }

func (u *used) received() *Received { return last(&u.incoming) }

func (u *used) handles() *[]Handle { return last(&u.lists) }

// outputs returns an empty list, in the place of what Take has returned.
func (u *used) outputs() []Output {
	out := u.out
	u.out = nil
	return emptied(out)
}

// last takes the last of list, or a new one.
func last[T any](list *[]*T) *T {
	n := len(*list) - 1
	if n < 0 {
		return new(T)
	}
	v := (*list)[n]
	(*list)[n] = nil
	*list = (*list)[:n]
	return v
}

// emptied returns list without what is in it; nil: it is too long to be kept.
func emptied[T any](list []T) []T {
	if cap(list) > mostUsedList {
		return nil
	}
	clear(list)
	return list[:0]
}
