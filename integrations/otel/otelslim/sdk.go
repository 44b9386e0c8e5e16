package otelslim

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"

	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// The exporters of OpenTelemetry for OTLP over HTTP encode batches; what they would send goes to an Exporter. So the bytes are theirs, and
// no HTTP is spoken. The address is never dialled: it stands in their errors.

const address = "https://slim"

// Traces returns what a tracer provider of the SDK exports to. To shut it down leaves the Exporter as it is.
func (e *Exporter) Traces(ctx context.Context) (sdktrace.SpanExporter, error) {
	return otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(address+"/v1/traces"), otlptracehttp.WithHTTPClient(e.client(Traces)),
		otlptracehttp.WithCompression(otlptracehttp.NoCompression), otlptracehttp.WithRetry(otlptracehttp.RetryConfig{}))
}

// Metrics returns what a reader of a meter provider exports to. Options are those of selectors; what they say of HTTP does not matter.
func (e *Exporter) Metrics(ctx context.Context, o ...otlpmetrichttp.Option) (sdkmetric.Exporter, error) {
	return otlpmetrichttp.New(ctx, append(o, otlpmetrichttp.WithEndpointURL(address+"/v1/metrics"), otlpmetrichttp.WithHTTPClient(e.client(Metrics)),
		otlpmetrichttp.WithCompression(otlpmetrichttp.NoCompression), otlpmetrichttp.WithRetry(otlpmetrichttp.RetryConfig{}))...)
}

// Logs returns what a processor of a logger provider exports to.
func (e *Exporter) Logs(ctx context.Context) (sdklog.Exporter, error) {
	return otlploghttp.New(ctx, otlploghttp.WithEndpointURL(address+"/v1/logs"), otlploghttp.WithHTTPClient(e.client(Logs)),
		otlploghttp.WithCompression(otlploghttp.NoCompression), otlploghttp.WithRetry(otlploghttp.RetryConfig{}))
}

func (e *Exporter) client(of Signal) *http.Client { return &http.Client{Transport: carrier{e, of}} }

// carrier takes the body of a request for a batch.
type carrier struct {
	e  *Exporter
	of Signal
}

// RoundTrip implements http.RoundTripper.
func (c carrier) RoundTrip(r *http.Request) (*http.Response, error) {
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, fmt.Errorf("reading a batch of %s: %w", c.of, err)
	}
	if err := c.e.Export(c.of, b); err != nil {
		return nil, err
	}
	return &http.Response{
		StatusCode: http.StatusOK, Status: "200 OK", Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header: http.Header{"Content-Type": {"application/x-protobuf"}}, Body: io.NopCloser(bytes.NewReader(nil)), // an empty response says that all was taken
	}, nil
}
