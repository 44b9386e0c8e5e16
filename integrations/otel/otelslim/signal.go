package otelslim

import (
	"errors"
	"fmt"

	collogspb "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	colmetricspb "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"
)

// Signal is what a batch is of.
type Signal uint8

// The signals of OTLP.
const (
	Traces Signal = iota + 1
	Metrics
	Logs
)

// signals are all, in the order in which receivers of slim-otel guess.
var signals = []Signal{Traces, Metrics, Logs}

// signalKey is the metadata that says of what signal a message is.
const signalKey = "otel.signal"

// String is what stands in the metadata.
func (s Signal) String() string {
	switch s {
	case Traces:
		return "traces"
	case Metrics:
		return "metrics"
	case Logs:
		return "logs"
	}
	return fmt.Sprintf("signal %d", uint8(s))
}

// request returns an empty request of the signal.
func (s Signal) request() proto.Message {
	switch s {
	case Traces:
		return new(coltracepb.ExportTraceServiceRequest)
	case Metrics:
		return new(colmetricspb.ExportMetricsServiceRequest)
	}
	return new(collogspb.ExportLogsServiceRequest)
}

// Why a message is no batch.
var (
	errEmpty   = errors.New("it has no spans, metrics or records")
	errUnknown = errors.New("it is no request of OTLP that is wanted here")
	// errUnwanted: it is one of a signal that is not.
	errUnwanted = errors.New("nobody wants its signal here")
)

// decode reads a batch of the signal that its sender names; "": of that of which it is a whole request, and only where there is none of the
// first one that is wanted: what is of another signal can be read as one that is wanted, and is not.
func decode(b []byte, named string, wanted func(Signal) bool) (Signal, proto.Message, error) {
	if len(b) == 0 {
		return 0, nil, errEmpty
	}
	var first proto.Message
	var of Signal
	for _, s := range signals {
		if named != "" && (named != s.String() || !wanted(s)) {
			continue
		}
		m := s.request()
		if err := proto.Unmarshal(b, m); err != nil {
			if named != "" {
				return 0, nil, err
			}
			continue
		}
		switch complete := named != "" || whole(m); {
		case complete && !wanted(s):
			return s, nil, errUnwanted
		case complete:
			return s, m, nil
		case first == nil && wanted(s):
			first, of = m, s
		}
	}
	if first == nil {
		return 0, nil, errUnknown
	}
	return of, first, nil
}

// whole reports whether all that makes up a request has what it cannot be without: bytes of another signal do not.
func whole(m proto.Message) bool {
	switch m := m.(type) {
	case *coltracepb.ExportTraceServiceRequest:
		return all(m.GetResourceSpans(), func(r int) bool {
			return all(m.GetResourceSpans()[r].GetScopeSpans(), func(i int) bool {
				spans := m.GetResourceSpans()[r].GetScopeSpans()[i].GetSpans()
				return all(spans, func(j int) bool {
					return len(spans[j].GetTraceId()) == 16 && len(spans[j].GetSpanId()) == 8 && spans[j].GetStartTimeUnixNano() > 0
				})
			})
		})
	case *colmetricspb.ExportMetricsServiceRequest:
		return all(m.GetResourceMetrics(), func(r int) bool {
			return all(m.GetResourceMetrics()[r].GetScopeMetrics(), func(i int) bool {
				metrics := m.GetResourceMetrics()[r].GetScopeMetrics()[i].GetMetrics()
				return all(metrics, func(j int) bool { return metrics[j].GetName() != "" && metrics[j].GetData() != nil })
			})
		})
	}
	return true
}

// all reports whether ok holds for every index of list.
func all[T any](list []T, ok func(i int) bool) bool {
	for i := range list {
		if !ok(i) {
			return false
		}
	}
	return true
}
