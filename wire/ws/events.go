package ws

// Kind says what a message is.
type Kind uint8

// The kinds; their values are the opcodes of RFC 6455 section 5.2.
const (
	Text   Kind = 1 // valid UTF-8
	Binary Kind = 2

	// Deflated is added to a kind whose content is compressed: the owner expands it, and looks whether a text is UTF-8.
	Deflated Kind = bitRSV1
)

// Events receives what the peer did, in the order in which it did it. All methods run inside Feed, on the caller's
// goroutine, and must not call Feed; every other method of Conn is allowed.
type Events interface {
	// Request delivers a client's request, whether it may open a connection or not: the owner judges credentials first,
	// then calls Accept or Refuse, now or later. What a client sends before it is answered fails the handshake, unless
	// the answer is given inside Request. r is borrowed until return, and so is all it shows; it is wiped then.
	Request(r *Request)
	// Response delivers the server's answer that opens the connection. r is borrowed until return, and so is all it
	// shows.
	Response(r *Response)
	// Message delivers one message. lent=false: msg is borrowed until return. lent=true: msg is the memory that Grow
	// returned and belongs to the owner again.
	Message(kind Kind, msg []byte, lent bool)
	// Grow returns memory with capacity >= n that begins with a copy of have and has its length; n >= len(have). It is
	// called when a message spans frames or reads; have is either borrowed or what the previous Grow of the same
	// message returned, which the owner takes back. The engine stops using the memory at Message, at InputEnded, and
	// when Feed has failed. n is at most three times what has arrived, or 16 KiB. nil: there is no memory; the
	// connection fails with TryAgainLater.
	Grow(have []byte, n int) []byte
	// Pong says that the peer sent a Pong, whether it answers a Ping of ours or not. payload is borrowed until return.
	Pong(payload []byte)
	// Ended says that the peer's Close came: nothing more comes from it. Unless ours was the first, it is due now,
	// after what is still to be said. e is borrowed until return.
	Ended(e *End)
}

// End is the peer's Close frame.
type End struct {
	Code   Code   // NoStatus: it had none
	Reason string // at most 123 bytes of UTF-8; may be kept
}
