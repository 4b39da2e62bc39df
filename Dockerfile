# syntax=docker/dockerfile:1
# The image holds one static binary, certificates, and an empty state folder.
FROM golang:1.26.8-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
ARG VERSION=dev
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=${VERSION}" -o /out/bin/tintype ./cmd/tintype \
 && mkdir -p /out/state /out/tmp

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/bin/tintype /bin/tintype
# A new volume takes the owner of the folder that it covers.
COPY --from=build --chown=65532:65532 /out/state /var/lib/tintype
COPY --from=build --chown=65532:65532 /out/tmp /tmp
ENV HOME=/var/lib/tintype \
    TINTYPE_STATE_DIR=/var/lib/tintype/state \
    TINTYPE_HTTP_LISTEN=0.0.0.0:9464
USER 65532:65532
VOLUME /var/lib/tintype
EXPOSE 9464
STOPSIGNAL SIGTERM
ENTRYPOINT ["/bin/tintype"]
CMD ["run"]
