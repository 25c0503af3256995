"""The README beside an exported tagger: inputs, outputs, and how to call it from C++ and Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from finetune.deployed import MASK, Port
from finetune.onnx_graph import OPSET
from finetune.stablehlo import LOADER, PLATFORMS

PYTHON = """\
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession("tagger.onnx", providers=["CPUExecutionProvider"])
example = dict(np.load("example.npz"))  # a few real examples: the inputs by name, and the outputs that they must give
inputs = {each.name: example[each.name] for each in session.get_inputs()}
names = [each.name for each in session.get_outputs()]
for name, found in zip(names, session.run(names, inputs)):
    print(name, found.shape, "largest difference", np.abs(found - example["expected_" + name]).max())
"""


def cpp(inputs: Sequence[Port], outputs: Sequence[Port]) -> str:
    """A C++ program that runs one example of one token per modality."""
    lines = []
    for port in inputs:
        shape = [str(n) if isinstance(n, int) else "batch" if n == "batch" else "tokens" for n in port.shape]
        value = "1.f" if port.name.endswith(MASK) else "0.5f"
        lines.append(f'  add("{port.name}", {{{", ".join(shape)}}}, {value});')
    names = ", ".join(f'"{port.name}"' for port in outputs)
    return CPP.replace("ADD", "\n".join(lines)).replace("OUTPUTS", names)


CPP = """\
// g++ -std=c++17 -I ORT/include run.cpp -L ORT/lib -lonnxruntime -o run && ./run tagger.onnx
#include <onnxruntime_cxx_api.h>
#include <cstdint>
#include <cstdio>
#include <vector>

int main(int, char** argv) {
  Ort::Env env(ORT_LOGGING_LEVEL_WARNING, "tagger");
  Ort::SessionOptions options;
  options.SetIntraOpNumThreads(1);
  Ort::Session session(env, argv[1], options);
  Ort::MemoryInfo cpu = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);

  const int64_t batch = 2, tokens = 5;  // any numbers, anew in each call
  std::vector<std::vector<float>> arrays;
  std::vector<const char*> names;
  std::vector<Ort::Value> values;
  arrays.reserve(64);  // the tensors point into them
  auto add = [&](const char* name, std::vector<int64_t> shape, float value) {
    int64_t size = 1;
    for (int64_t n : shape) size *= n;
    arrays.emplace_back(size, value);  // put the real numbers here, row by row
    names.push_back(name);
    values.push_back(Ort::Value::CreateTensor<float>(cpu, arrays.back().data(), size, shape.data(), shape.size()));
  };
ADD
  const char* outputs[] = {OUTPUTS};
  const size_t count = sizeof(outputs) / sizeof(*outputs);
  auto found = session.Run(Ort::RunOptions{nullptr}, names.data(), values.data(), values.size(), outputs, count);
  for (size_t i = 0; i < count; i++) {
    const float* numbers = found[i].GetTensorData<float>();
    const size_t size = found[i].GetTensorTypeAndShapeInfo().GetElementCount();
    std::printf("%s:", outputs[i]);
    for (size_t j = 0; j < size; j++) std::printf(" %.6f", numbers[j]);
    std::printf("\\n");
  }
}
"""


def readme(inputs: Sequence[Port], outputs: Sequence[Port], metrics: Mapping[str, Any], run: str) -> str:
    """The text."""
    free = metrics["token_axis"] == "free"
    axis = "any number" if free else "exactly as many as the table says: pad with zeros"
    parts = [
        f"# Tagger of {run}",
        f"`tagger.onnx`: opset {OPSET}, standard operators only, onnxruntime 1.14 or later. Number of examples: any. "
        f"Number of tokens of each modality: {axis}. All arrays are float32. What stands in the place of padding does "
        "not matter, and order among the tokens only as far as it did in training. Transforms and standardisation are "
        "inside: give raw values in the units below.",
        f"Compared with JAX on {metrics['rows']:,} examples of split `{metrics['split']}` and on empty ones: largest "
        f"difference {max(metrics['largest_difference'].values()):.1e} of {metrics['tolerance']:.0e} allowed.",
        "## Inputs, in order",
        _table(inputs),
        "## Outputs",
        _table(outputs),
        "## Python",
        f"```python\n{PYTHON}```",
        "## C++",
        f"```cpp\n{cpp(inputs, outputs)}```",
        "In CMSSW `cms::Ort::ONNXRuntime::run(names, arrays, shapes)` takes the same float arrays and shapes, in any "
        "order of `names`.",
    ]
    if metrics.get("stablehlo"):
        parts += [
            "## StableHLO, for programs with JAX",
            f"`tagger.stablehlo` holds the same function for {' and '.join(PLATFORMS)}, without a gradient, with free "
            "sizes; it needs jax and flatbuffers. Inputs by position, in the order "
            f"{', '.join(metrics['stablehlo']['inputs'])}.",
            f"```python\n{LOADER}```",
        ]
    return "\n\n".join(parts) + "\n"


def _table(ports: Sequence[Port]) -> str:
    lines = ["| name | shape | last axis, in order |", "| --- | --- | --- |"]
    return "\n".join(lines + [f"| `{p.name}` | [{', '.join(map(str, p.shape))}] | {p.meaning} |" for p in ports])
