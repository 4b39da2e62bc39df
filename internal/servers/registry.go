package servers

import (
	"context"
	"fmt"
	"net/url"

	"github.com/twmb/franz-go/pkg/sr"

	"github.com/tintype/tintype/event"
)

// Codecs returns the codecs of a deployment. With a registry's URL the schemas
// of its topics are registered (subject: topic-value) and values are framed
// with their ids; with none, values are plain Protobuf. Tables and loops are
// never framed: only this program reads them.
func Codecs(ctx context.Context, registry, password string, topics event.Topics) (*event.Codecs, error) {
	codecs := event.NewCodecs()
	if registry == "" {
		return codecs, nil
	}
	client, err := registryClient(registry, password)
	if err != nil {
		return nil, err
	}
	r := &registration{ctx: ctx, client: client}
	codecs.Upload = codecs.Upload.Framed(r.value(topics.Uploads.Name, "upload.proto"))
	codecs.Photo = codecs.Photo.Framed(r.value(topics.Photos.Name, "photo.proto"))
	codecs.Developed = codecs.Developed.Framed(r.value(topics.Developed.Name, "developed.proto"))
	codecs.DeadLetter = codecs.DeadLetter.Framed(r.value(topics.DeadLetters.Name, "dead_letter.proto"))
	codecs.Measure = codecs.Measure.Framed(r.value(topics.Measures.Name, "measure.proto"))
	codecs.WindowResult = codecs.WindowResult.Framed(r.value(topics.WindowResults.Name, "measure.proto"))
	codecs.LateUpload = codecs.LateUpload.Framed(r.value(topics.Late.Name, "measure.proto"))
	codecs.Ticked = codecs.Ticked.Framed(r.value(topics.Ticks.Name, "control.proto"))
	if r.err != nil {
		return nil, fmt.Errorf("servers: register schemas: %w", r.err)
	}
	return codecs, nil
}

// CheckRegistry asks a registry for its subjects.
func CheckRegistry(ctx context.Context, registry, password string) error {
	client, err := registryClient(registry, password)
	if err != nil {
		return err
	}
	if _, err := client.Subjects(ctx); err != nil {
		return fmt.Errorf("servers: the registry does not answer: %w", err)
	}
	return nil
}

// registryClient reads a registry's URL: http(s)://user@host:port.
func registryClient(registry, password string) (*sr.Client, error) {
	u, err := url.Parse(registry)
	if err != nil {
		return nil, fmt.Errorf("servers: registry address: %w", redactURLError(err))
	}
	opts := []sr.ClientOpt{}
	if user := u.User.Username(); user != "" {
		if inline, ok := u.User.Password(); ok && password == "" {
			password = inline
		}
		opts = append(opts, sr.BasicAuth(user, password))
		u.User = nil
	}
	client, err := sr.NewClient(append(opts, sr.URLs(u.String()))...)
	if err != nil {
		return nil, fmt.Errorf("servers: registry client: %w", err)
	}
	return client, nil
}

// registration registers schema files with what they import, and keeps the
// first error.
type registration struct {
	ctx    context.Context
	client *sr.Client
	err    error
}

// value registers a topic's schema and returns its id.
func (r *registration) value(topic, file string) uint32 {
	return uint32(r.register(topic+"-value", file).ID)
}

func (r *registration) register(subject, file string) sr.SubjectSchema {
	if r.err != nil {
		return sr.SubjectSchema{}
	}
	text, imports, err := event.Schema(file)
	if err != nil {
		r.err = err
		return sr.SubjectSchema{}
	}
	schema := sr.Schema{Schema: text, Type: sr.TypeProtobuf}
	for _, name := range imports {
		path := event.SchemaPath(name)
		dependency := r.register(path, name)
		schema.References = append(schema.References, sr.SchemaReference{Name: path, Subject: path, Version: dependency.Version})
	}
	if r.err != nil {
		return sr.SubjectSchema{}
	}
	registered, err := r.client.CreateSchema(r.ctx, subject, schema)
	if err != nil {
		r.err = fmt.Errorf("subject %s: %w", subject, err)
	}
	return registered
}
