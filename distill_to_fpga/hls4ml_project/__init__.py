"""The student as an hls4ml project, for groups whose build starts from one: by hls4ml's public API, no Keras."""
