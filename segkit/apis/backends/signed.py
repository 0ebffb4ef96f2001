"""Products of two maps in eight bits, as attention has them, at the speed of those by weights.

Processors multiply unsigned by signed bytes (VNNI); onnxruntime quantises both factors unsigned and
then takes over twice as long. The second factor less 128, with a zero point less 128, is signed and
stands for the same numbers: results are equal, bit by bit.
"""

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    import onnx

# onnxruntime would put signed maps back to unsigned ones, and two conversions into one.
SESSION = {'session.qdqisint8allowed': '1', 'session.disable_double_qdq_remover': '1'}


def pays() -> bool:
    """Whether the processor multiplies such bytes exactly: older ones saturate sums of two."""
    return bool(getattr(torch.cpu, '_is_vnni_supported', lambda: False)())


def sign_second_factors(graph: 'onnx.GraphProto') -> int:
    """Give every MatMul of two quantised maps a signed second one, in place; how many there were.

    Args:
        graph: with QuantizeLinear and DequantizeLinear around what is quantised.
    """
    from onnx import helper, numpy_helper

    numbers = {number.name: number for number in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    nodes, count = [], 0
    for node in graph.node:
        maker = makers.get(node.input[1]) if node.op_type == 'MatMul' else None
        if maker is not None and maker.op_type == 'DequantizeLinear':
            values, scale, zero = maker.input
            point = numpy_helper.to_array(numbers[zero])
            if values not in numbers and point.dtype == 'uint8':  # a map; weights are signed
                name = f'{node.name}_signed'
                less = (point.astype('int16') - 128).astype('int8')
                graph.initializer.append(numpy_helper.from_array(less, f'{name}_zero'))
                ends = [scale, f'{name}_zero']
                nodes += [
                    helper.make_node('QuantizeLinear', [node.input[1], *ends], [f'{name}_bytes']),
                    helper.make_node('DequantizeLinear', [f'{name}_bytes', *ends], [name]),
                ]
                node.input[1] = name
                count += 1
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    return count
