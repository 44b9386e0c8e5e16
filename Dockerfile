# Image of the node: one static binary and nothing else. Build the binary first (task image does both):
#
#   CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o bin/slim ./cmd/slim
#   docker build --build-arg BINARY=bin/slim -t slim .
#
# As in upstream's data-plane images the binary is /slim and there is no entrypoint:
#
#   docker run -v "$PWD/node.yaml:/config.yaml:ro" -p 46357:46357 slim /slim --config /config.yaml
FROM scratch
ARG BINARY=bin/slim
COPY ${BINARY} /slim
USER 65532:65532
