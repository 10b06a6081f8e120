// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.20;

/// Reads a contract together with the block and the caller's native coin, all from one state.
contract BalanceWrapper {
    struct CallWithDetails {
        uint256 chainId;
        uint256 blockNumber;
        uint256 blockTimestamp;
        uint256 callerBalance;
        bytes result;
    }

    struct MultiCallWithDetails {
        uint256 chainId;
        uint256 blockNumber;
        uint256 blockTimestamp;
        uint256 callerBalance;
        bytes[] results;
    }

    function callWithDetails(address target, bytes calldata data) external view returns (CallWithDetails memory) {
        return CallWithDetails(block.chainid, block.number, block.timestamp, msg.sender.balance, read(target, data));
    }

    function multiCall(address[] calldata targets, bytes[] calldata data) external view returns (bytes[] memory) {
        return readAll(targets, data);
    }

    function multiCallWithDetails(address[] calldata targets, bytes[] calldata data)
        external
        view
        returns (MultiCallWithDetails memory)
    {
        return MultiCallWithDetails(
            block.chainid, block.number, block.timestamp, msg.sender.balance, readAll(targets, data)
        );
    }

    function readAll(address[] calldata targets, bytes[] calldata data) private view returns (bytes[] memory results) {
        require(targets.length == data.length, "targets and data differ in length");
        results = new bytes[](targets.length);
        for (uint256 i = 0; i < targets.length; ++i) {
            results[i] = read(targets[i], data[i]);
        }
    }

    function read(address target, bytes calldata data) private view returns (bytes memory) {
        (bool ok, bytes memory result) = target.staticcall(data);
        if (!ok) {
            assembly {
                revert(add(result, 32), mload(result))
            }
        }
        return result;
    }
}
