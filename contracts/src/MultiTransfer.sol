// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.20;

import {IERC20} from "./IERC20.sol";

/// Pays many receivers in one transaction. The payer allows this contract to spend its tokens first.
contract MultiTransfer {
    IERC20 public immutable GLM;

    constructor(IERC20 token) {
        GLM = token;
    }

    /// Each receiver sees a transfer from the payer itself.
    function golemTransferDirect(address[] calldata recipients, uint256[] calldata amounts) external {
        require(recipients.length == amounts.length, "recipients and amounts differ in length");
        for (uint256 i = 0; i < recipients.length; ++i) {
            take(recipients[i], amounts[i]);
        }
    }

    /// A payment is 20 bytes of address and 12 bytes of amount.
    function golemTransferDirectPacked(bytes32[] calldata payments) external {
        for (uint256 i = 0; i < payments.length; ++i) {
            (address recipient, uint256 amount) = unpack(payments[i]);
            take(recipient, amount);
        }
    }

    /// The sum comes here first, each receiver sees a transfer from this contract.
    function golemTransferIndirect(address[] calldata recipients, uint256[] calldata amounts) external {
        require(recipients.length == amounts.length, "recipients and amounts differ in length");
        uint256 sum = 0;
        for (uint256 i = 0; i < amounts.length; ++i) {
            sum += amounts[i];
        }
        take(address(this), sum);
        for (uint256 i = 0; i < recipients.length; ++i) {
            give(recipients[i], amounts[i]);
        }
    }

    function golemTransferIndirectPacked(bytes32[] calldata payments, uint256 totalTransferred) external {
        take(address(this), totalTransferred);
        uint256 sum = 0;
        for (uint256 i = 0; i < payments.length; ++i) {
            (address recipient, uint256 amount) = unpack(payments[i]);
            sum += amount;
            give(recipient, amount);
        }
        require(sum == totalTransferred, "amounts do not add up to the total");
    }

    function unpack(bytes32 payment) private pure returns (address recipient, uint256 amount) {
        recipient = address(bytes20(payment));
        amount = uint96(uint256(payment));
    }

    function take(address recipient, uint256 amount) private {
        require(GLM.transferFrom(msg.sender, recipient, amount), "transferFrom failed");
    }

    function give(address recipient, uint256 amount) private {
        require(GLM.transfer(recipient, amount), "transfer failed");
    }
}
