package agent

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"

	"google.golang.org/grpc"

	"github.com/seed31b3bfd0/slimgo/wire/pb/controllerpb"
)

// The service of the control channel (P-ctl-1), which has one method.
const (
	serviceName = "controller.proto.v1.ControllerService"
	methodName  = "OpenControlChannel"
)

// maxMessage bounds a message that comes, in bytes: a desired state is one message.
const maxMessage = 16 << 20

var channelDesc = grpc.StreamDesc{StreamName: methodName, ServerStreams: true, ClientStreams: true}

// channel is a stream of the control channel, of either role. One goroutine sends, one receives.
type channel interface {
	Context() context.Context
	SendMsg(m any) error
	RecvMsg(m any) error
}

// Bounds of a stream.
const (
	maxCommands = 16 // that are not acknowledged: no more is read until one is
	maxParts    = 32 // messages that wait to be sent
)

// stream is one stream of the control channel.
type stream struct {
	agent   *Agent
	origin  any // of its commands
	channel channel
	log     *slog.Logger

	out   chan *controllerpb.ControlMessage // has room for acknowledgements; see maxCommands
	slots chan struct{}                     // one for each command that is not acknowledged
	freed chan struct{}                     // has room for one: a slot was taken back
	said  struct{ nameless, unknown, unasked, empty atomic.Bool }
}

func newStream(a *Agent, origin any, c channel, log *slog.Logger) *stream {
	return &stream{agent: a, origin: origin, channel: c, log: log, out: make(chan *controllerpb.ControlMessage, maxCommands+maxParts),
		slots: make(chan struct{}, maxCommands), freed: make(chan struct{}, 1)}
}

// once logs a warning the first time that a stream gives reason to.
func (s *stream) once(said *atomic.Bool, text string, attrs ...any) {
	if !said.Swap(true) {
		s.log.Warn(text, attrs...)
	}
}

// receive takes what comes until the stream ends, and returns why; nil: the other end has nothing more to say.
func (s *stream) receive() error {
	for {
		m := &controllerpb.ControlMessage{}
		if err := s.channel.RecvMsg(m); err != nil {
			if err == io.EOF {
				return nil
			}
			return err
		}
		if err := s.take(m); err != nil {
			return err
		}
	}
}

// take handles one message.
func (s *stream) take(m *controllerpb.ControlMessage) error {
	s.agent.count.received.Add(1)
	switch p := m.GetPayload().(type) {
	case *controllerpb.ControlMessage_ConfigCommand:
		select {
		case s.slots <- struct{}{}:
		case <-s.channel.Context().Done():
			return s.channel.Context().Err()
		}
		s.agent.count.commands.Add(1)
		s.agent.desk.post(func(d *desk) { d.command(s.origin, s, m.GetMessageId(), p.ConfigCommand) })
	case *controllerpb.ControlMessage_RouteListRequest:
		return s.listRoutes(m.GetMessageId())
	case *controllerpb.ControlMessage_ConnectionListRequest:
		return s.listConnections(m.GetMessageId())
	case *controllerpb.ControlMessage_RegisterNodeRequest, *controllerpb.ControlMessage_DeregisterNodeRequest:
		s.agent.count.invalid.Add(1)
		s.once(&s.said.unasked, "received a register or deregister node request, which is for control planes: it is ignored")
	case *controllerpb.ControlMessage_RegisterNodeResponse, *controllerpb.ControlMessage_DeregisterNodeResponse,
		*controllerpb.ControlMessage_Ack: // late, or of nothing that was asked
	case nil:
		s.agent.count.invalid.Add(1)
		s.once(&s.said.empty, "received control message with no payload, or one that is not known: it is ignored", "message_id", short(m.GetMessageId()))
	default:
		s.agent.count.invalid.Add(1)
		s.once(&s.said.unknown, "received a control message that is not for nodes: it is ignored", "payload", fmt.Sprintf("%T", p))
	}
	return nil
}

// short is a text of the other end as it may be logged.
func short(s string) string {
	if len(s) > 64 {
		return s[:64] + "…"
	}
	return s
}

// acknowledge answers a command. It does not wait: there is room.
func (s *stream) acknowledge(a *controllerpb.ConfigurationCommandAck) {
	for _, x := range a.GetConnectionsStatus() {
		if !x.GetSuccess() {
			s.agent.count.refusedLinks.Add(1)
			s.log.Warn("a link is not as it was ordered", "link_id", short(x.GetLinkId()), "error", x.GetErrorMsg())
		}
	}
	select {
	case s.out <- message(&controllerpb.ControlMessage{Payload: &controllerpb.ControlMessage_ConfigCommandAck{ConfigCommandAck: a}}):
	default: // cannot be, and must not hold up others
		s.agent.count.unsent.Add(1)
	}
	s.free()
}

// free takes the slot of a command back, after its acknowledgement was put into the stream: whoever waits for all of them sees no moment
// without both.
func (s *stream) free() {
	select {
	case <-s.slots:
	default:
	}
	select {
	case s.freed <- struct{}{}:
	default:
	}
}

// send puts a message into the stream, and waits for room.
func (s *stream) send(m *controllerpb.ControlMessage) error {
	select {
	case s.out <- message(m):
		return nil
	case <-s.channel.Context().Done():
		return s.channel.Context().Err()
	case <-s.agent.ctx.Done():
		return errStopping
	}
}

// message gives m an id.
func message(m *controllerpb.ControlMessage) *controllerpb.ControlMessage {
	m.MessageId = newUUID()
	return m
}

func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
