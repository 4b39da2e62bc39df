package event

import "time"

// Topic says what a topic holds and how long.
type Topic struct {
	Name string
	// Key and EventTime are for people: what a record's key is, and where its
	// event time stands.
	Key, EventTime string
	// Message is the Protobuf message of its values.
	Message string
	// Retention is how long records are kept; 0 keeps them for ever.
	Retention time.Duration
	// Compacted topics keep the latest value of each key instead.
	Compacted bool
	// MaxMessageBytes bounds one record batch.
	MaxMessageBytes int
}

// Limits of one record.
const (
	// MaxUploadRecordBytes bounds an upload record with its photo inside.
	MaxUploadRecordBytes = 16 << 20
	// MaxRecordBytes bounds every other record: photos travel as references.
	MaxRecordBytes = 1 << 20
	// MaxWindowBytes bounds a batch of what stage windows writes, its table included: a
	// key's open windows are one record, and they wait while a source does.
	MaxWindowBytes = 16 << 20
	// MaxUploadIDBytes bounds an upload id.
	MaxUploadIDBytes = 256
)

// DefaultDeployment is the deployment whose topics carry no prefix.
const DefaultDeployment = "tintype"

const day = 24 * time.Hour

// Topics are the topics of one deployment. All of them have the partition
// count of Uploads, for life.
type Topics struct {
	// Uploads is the log of truth.
	Uploads Topic
	// Photos are the extracted originals.
	Photos Topic
	// Developed holds one fate per upload.
	Developed Topic
	// DeadLetters hold the details of the dead.
	DeadLetters Topic
	// Measures are what uploads add to windows.
	Measures Topic
	// WindowResults are what windows have come to.
	WindowResults Topic
	// Late holds the uploads that a window does not count.
	Late Topic
	// Ticks are the control records of Uploads that moved its stream times.
	Ticks Topic
}

// TopicsOf names the topics of a deployment that reads the given uploads topic
// (empty: "uploads"). The default deployment's own topics carry no prefix, any
// other's carry its name, so that several deployments can read one log.
func TopicsOf(deployment, uploads string) Topics {
	prefix := ""
	if deployment != "" && deployment != DefaultDeployment {
		prefix = deployment + "-"
	}
	if uploads == "" {
		uploads = "uploads"
	}
	return Topics{
		Uploads: Topic{
			Name: uploads, Key: "upload id", EventTime: "Upload.uploaded_at_ms", Message: "Upload",
			MaxMessageBytes: MaxUploadRecordBytes,
		},
		Photos: Topic{
			Name: prefix + "photos", Key: "sha256 (hex)", EventTime: "Stamp.event_time_ms", Message: "Photo",
			Retention: 7 * day, MaxMessageBytes: MaxRecordBytes,
		},
		Developed: Topic{
			Name: prefix + "developed", Key: "upload id", EventTime: "Stamp.event_time_ms", Message: "Developed",
			Retention: 30 * day, MaxMessageBytes: MaxRecordBytes,
		},
		DeadLetters: Topic{
			Name: prefix + "dead-letters", Key: "upload id", EventTime: "Stamp.event_time_ms", Message: "DeadLetter",
			Retention: 90 * day, MaxMessageBytes: MaxWindowBytes,
		},
		Measures: Topic{
			Name: prefix + "measures", Key: "dimension:value", EventTime: "Stamp.event_time_ms", Message: "Measure",
			Retention: 7 * day, MaxMessageBytes: MaxRecordBytes,
		},
		WindowResults: Topic{
			Name: prefix + "windows.results", Key: "dimension:value", EventTime: "WindowResult.window_start_ms", Message: "WindowResult",
			Retention: 30 * day, MaxMessageBytes: MaxWindowBytes,
		},
		Late: Topic{
			Name: prefix + "late", Key: "dimension:value", EventTime: "Stamp.event_time_ms", Message: "LateUpload",
			Retention: 30 * day, MaxMessageBytes: MaxWindowBytes,
		},
		Ticks: Topic{
			Name: prefix + "ticks", Key: "of its partition", EventTime: "Stamp.event_time_ms", Message: "Ticked",
			Retention: 30 * day, MaxMessageBytes: MaxRecordBytes,
		},
	}
}

// All lists the topics in the order of the pipeline.
func (t Topics) All() []Topic {
	return []Topic{t.Uploads, t.Photos, t.Developed, t.DeadLetters, t.Measures, t.WindowResults, t.Late, t.Ticks}
}
