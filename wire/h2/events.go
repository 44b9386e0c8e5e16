package h2

// Events receives what the peer did, in the order in which it did it. All methods run inside Feed, Reap or Close, on
// the caller's goroutine, and must not call Feed, Reap or Close; every other method of Conn is allowed.
//
// A stream begins with Request (server) or Open (client), has at most one Ended, and finishes with exactly one Closed.
// After Ended and after any call that ends the stream from this side, no Message follows.
type Events interface {
	// Request delivers a complete, valid request. r is borrowed until return, and so is all it shows.
	Request(s *Stream, r *Request)
	// Response delivers the response HEADERS. r is borrowed until return, and so is all it shows.
	Response(s *Stream, r *Response)
	// Message delivers one gRPC message without its prefix. lent=false: msg is borrowed until return. lent=true: msg is
	// the memory that Grow returned and belongs to the owner again.
	Message(s *Stream, msg []byte, lent bool)
	// Grow returns memory with capacity >= n that begins with a copy of have and has its length; n >= len(have). It is
	// called when a message spans frames or reads; have is either borrowed or what the previous Grow of the same message
	// returned, which the owner takes back. The engine stops using the memory at Message, Ended or Closed, whichever is
	// first. n is at most three times what has arrived, or 16 KiB. nil: there is no memory; the stream of the connection
	// whose message was begun first is ended and Grow is called again, until it is s itself that is ended.
	Grow(s *Stream, have []byte, n int) []byte
	// Ended says that nothing more comes from the peer on s. e is borrowed until return.
	Ended(s *Stream, e *End)
	// Writable says that s may send as much as Stream.Window says then: Conn.Offer. The owner sends what it has for s, up
	// to a rest of less than 4 KiB: a stream that leaves more of its window unused is not told again.
	Writable(s *Stream)
	// Closed is the last event of s. Memory lent for a message that never became complete is the owner's again.
	Closed(s *Stream)
	// Pong says that a PING of ours was answered.
	Pong()
	// GoAway delivers the peer's GOAWAY (RFC 9113 section 6.8). debug is borrowed and cut at 1 KiB.
	GoAway(last uint32, code ErrCode, debug []byte)
}

// Request is a request whose header section obeys RFC 9113 section 8.3.1.
type Request struct {
	Method        []byte
	Path          []byte
	Scheme        []byte // http, https, or unix from a Rust dialer on a unix socket
	Authority     []byte // never checked
	ContentType   []byte
	Authorization []byte // wiped on return
	EndStream     bool   // no DATA follows; Ended comes next
	fields        []field
}

// Field returns the first value of the regular field of that lower-case name, borrowed as r is.
func (r *Request) Field(name string) ([]byte, bool) { return lookup(r.fields, name) }

// Response is the header section of a response that is not 1xx (RFC 9113 section 8.3.2).
type Response struct {
	Status      int // HTTP status, 200..599 from a sane peer
	ContentType []byte
	GRPCStatus  int    // -1 unless trailers-only
	Message     string // grpc-message, percent-decoded; may be kept
	EndStream   bool   // trailers-only; Ended comes next
	fields      []field
}

// Field returns the first value of the regular field of that lower-case name, borrowed as r is.
func (r *Response) Field(name string) ([]byte, bool) { return lookup(r.fields, name) }

func lookup(fields []field, name string) ([]byte, bool) {
	for i := range fields {
		if string(fields[i].name) == name {
			return fields[i].value, true
		}
	}
	return nil, false
}

// EndKind says how the peer's side of a stream ended.
type EndKind uint8

const (
	// KindHalfClosed: END_STREAM on a message boundary, without trailers.
	KindHalfClosed EndKind = iota + 1
	// KindTrailers: a trailer section; on a client GRPCStatus and Message hold the outcome of the call.
	KindTrailers
	// KindReset: the peer's RST_STREAM with Code.
	KindReset
	// KindBroken: the messages broke: compressed flag, too large, or cut short. Further DATA is discarded.
	KindBroken
	// KindFault: the peer broke HTTP/2 on this stream; RST_STREAM with Code is in Control.
	KindFault
	// KindGoAway: a GOAWAY with Code says that the peer never worked on the stream: it may be tried elsewhere.
	KindGoAway
	// KindConn: the connection is over.
	KindConn
	// KindUnfinished: the unfinished messages of the connection took more than Settings.MaxUnfinished, and the one of this
	// stream was the oldest. Further DATA is discarded.
	KindUnfinished
)

// String names the kind.
func (k EndKind) String() string {
	if int(k) < len(endNames) {
		return endNames[k]
	}
	return "unknown"
}

var endNames = [...]string{"none", "half-closed", "trailers", "reset", "broken", "fault", "goaway", "connection", "unfinished"}

// End is the last word on the peer's side of a stream.
type End struct {
	Kind       EndKind
	Code       ErrCode // KindReset, KindFault, KindGoAway, KindConn
	HTTPStatus int     // client: :status of the response, 0 before it
	// GRPCStatus: of the trailers; a client that got none has the mapping of the HTTP status. KindBroken: the status
	// that fits (11, 12 or 13); KindUnfinished: 8. Else -1.
	GRPCStatus int
	Message    string // grpc-message, percent-decoded, or the reason
	Cut        bool   // KindBroken: the stream ended inside a message
}
